//! How long iterations took: those that passed above the axis, those that failed below it.

use super::{Box, Drawing, step};
use crate::judge::Verdict;
use crate::report::summary::Summary;
use crate::report::time::rounded;

const LEFT: f64 = 80.0;
const WIDTH: f64 = 660.0;
const TALL: f64 = 64.0;
const BINS: usize = 60;

/// Draws the distribution; `None` where no duration is known.
pub fn durations(summary: &Summary) -> Option<Drawing> {
    let all = summary.durations_s.all?;
    let mut drawing = Drawing::new(
        LEFT + WIDTH + 30.0,
        "how long iterations took, passed and failed; the table has the figures".to_owned(),
    );
    // A hang of hours beside passes of minutes needs another scale.
    let is_log = all.min > 0.0 && all.max > 20.0 * all.min.max(1.0);
    let low = if is_log { all.min.max(1.0).log10().floor() } else { 0.0 };
    let high = if is_log { all.max.log10() } else { all.max.max(1e-3) };
    let span = (high - low).max(1e-9);
    let share = |seconds: f64| {
        let value = if is_log { seconds.max(1e-3).log10() } else { seconds };
        ((value - low) / span).clamp(0.0, 1.0)
    };
    let series = [
        ("passed", "o-passed", Verdict::Passed, &summary.passed),
        ("failed", "o-failed", Verdict::Failed, &summary.not_passed),
    ];
    let mut y = 0.0;
    for (name, class, verdict, runs) in series {
        let mut bins = [0_usize; BINS];
        let known = runs
            .iter()
            .filter(|run| run.verdict == verdict)
            .filter_map(|run| run.duration_s);
        for seconds in known.filter(|seconds| seconds.is_finite()) {
            let bin = (0..BINS)
                .rfind(|bin| *bin as f64 <= share(seconds) * BINS as f64)
                .unwrap_or(0);
            bins[bin] += 1;
        }
        let most = bins.iter().copied().max().unwrap_or(0);
        drawing.text(LEFT - 10.0, y + TALL - 4.0, "end", name);
        drawing.text(LEFT - 10.0, y + 14.0, "end faint", &format!("max {most}"));
        let bars: Vec<Box> = bins
            .iter()
            .enumerate()
            .filter(|(_, n)| **n > 0)
            .map(|(bin, n)| {
                let height = (*n as f64 / most as f64 * (TALL - 4.0)).max(2.0);
                Box {
                    x: LEFT + bin as f64 * WIDTH / BINS as f64,
                    y: y + TALL - height,
                    width: WIDTH / BINS as f64 - 1.0,
                    height,
                }
            })
            .collect();
        drawing.boxes(class, &bars);
        drawing.line((LEFT, y + TALL), (LEFT + WIDTH, y + TALL), "axis");
        y += TALL + 10.0;
    }
    for seconds in ticks(is_log, low, high) {
        let x = LEFT + share(seconds) * WIDTH;
        drawing.line((x, 0.0), (x, y - 10.0), "grid");
        drawing.text(x, y + 6.0, "mid faint", &rounded(seconds));
    }
    drawing.height = y + 12.0;
    Some(drawing)
}

fn ticks(is_log: bool, low: f64, high: f64) -> Vec<f64> {
    if is_log {
        const ROUND: [f64; 15] = [
            1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0,
            259_200.0, 604_800.0,
        ];
        let (low, high) = (10_f64.powf(low), 10_f64.powf(high));
        return ROUND.into_iter().filter(|tick| (low..=high).contains(tick)).collect();
    }
    let step = step(high);
    std::iter::successors(Some(0.0), |tick| Some(tick + step))
        .take_while(|tick| *tick <= high)
        .collect()
}
