//! What single runs say about one class of failure, alone and side by side in blocks: the series that rules look at, in
//! the order of the runs, and what a rule concludes.

use super::rate::Count;
use crate::judge::Verdict;
use crate::spec::words::words;

/// What one run says about the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Nothing yet: the run is in flight, or was never started. Rules look no further than the first such run.
    Awaited,
    /// Nothing, and no answer will come: the run errored.
    Unanswered,
    /// The class did not fail, whatever else did.
    Passed,
    /// The class failed.
    Failed,
}

impl Answer {
    /// Whether the class failed; `None` where the run does not say.
    pub fn failed(self) -> Option<bool> {
        match self {
            Answer::Passed => Some(false),
            Answer::Failed => Some(true),
            Answer::Awaited | Answer::Unanswered => None,
        }
    }

    /// Failures among the answered runs.
    pub fn count(runs: &[Answer]) -> Count {
        runs.iter().filter_map(|run| run.failed()).collect()
    }
}

/// A recorded run: whether the class failed, `None` where the run errored.
impl From<Option<bool>> for Answer {
    fn from(failed: Option<bool>) -> Answer {
        match failed {
            None => Answer::Unanswered,
            Some(false) => Answer::Passed,
            Some(true) => Answer::Failed,
        }
    }
}

/// Whether the run failed at all.
impl From<Verdict> for Answer {
    fn from(verdict: Verdict) -> Answer {
        match verdict {
            Verdict::Failed => Answer::Failed,
            Verdict::Passed => Answer::Passed,
            Verdict::Errored => Answer::Unanswered,
        }
    }
}

/// Counts whether each run failed. No slice of runs is as long as [`Count::MAX`].
impl FromIterator<bool> for Count {
    fn from_iter<T: IntoIterator<Item = bool>>(runs: T) -> Count {
        let (mut failed, mut of) = (0, 0);
        for run in runs {
            failed += u64::from(run);
            of += 1;
        }
        Count::new(failed, of).unwrap_or_default()
    }
}

/// One run of each of two sides, side by side in time, so that whatever drifts is shared by both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// The side that fails more often if what is to be shown holds: the base, the amplified, the culprit.
    pub higher: Answer,
    /// The other side: the fix, the base, the culprit's parent.
    pub lower: Answer,
}

impl Block {
    /// A block of two runs. One with a run that errored is set aside whole, whatever becomes of its other side.
    pub fn of(higher: Answer, lower: Answer) -> Block {
        if [higher, lower].contains(&Answer::Unanswered) {
            let (higher, lower) = (Answer::Unanswered, Answer::Unanswered);
            return Block { higher, lower };
        }
        Block { higher, lower }
    }

    /// Whether each side failed; `None` where one of the two does not say, which sets the block aside.
    pub fn failed(self) -> Option<(bool, bool)> {
        self.higher.failed().zip(self.lower.failed())
    }

    /// The blocks before the first one in which a side is awaited.
    pub(crate) fn recorded(blocks: &[Block]) -> impl Iterator<Item = Block> {
        let is_awaited = |block: &Block| block.higher == Answer::Awaited || block.lower == Answer::Awaited;
        blocks.iter().copied().take_while(move |block| !is_awaited(block))
    }
}

words! {
    /// What a rule has concluded.
    #[derive(Hash)]
    pub enum Conclusion {
        /// Shown to fail less often.
        Fewer = "fewer",
        /// Shown to fail more often.
        More = "more",
        /// Over, and nothing is shown; never "unchanged".
        NotShown = "not shown",
    }
}

/// Series as tests write them, a letter for each run or block.
#[cfg(test)]
impl Answer {
    /// `.` passed, `F` failed, `x` unanswered, anything else awaited.
    pub(crate) fn read(letter: char) -> Answer {
        match letter {
            '.' => Answer::Passed,
            'F' => Answer::Failed,
            'x' => Answer::Unanswered,
            _ => Answer::Awaited,
        }
    }

    pub(crate) fn series(text: &str) -> Vec<Answer> {
        text.chars().map(Answer::read).collect()
    }
}

#[cfg(test)]
impl Block {
    /// `h` only the higher side failed, `l` only the lower one, `b` both, `.` none, `x` one errored, `?` one is awaited.
    pub(crate) fn series(text: &str) -> Vec<Block> {
        let higher = text.replace(['h', 'b'], "F").replace('l', ".");
        let lower = text.replace(['l', 'b'], "F").replace(['h', 'x', '?'], ".");
        let sides = Answer::series(&higher).into_iter().zip(Answer::series(&lower));
        sides.map(|(higher, lower)| Block { higher, lower }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answered_runs_are_counted() {
        let runs = [Answer::Failed, Answer::Unanswered, Answer::Passed, Answer::Awaited];
        assert_eq!(Answer::count(&runs), Count::new(1, 2).unwrap());
        assert_eq!(Answer::count(&[]), Count::default());
    }
}
