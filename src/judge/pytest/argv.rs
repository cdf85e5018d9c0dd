//! What a session's command line says about what it prints.

/// Whether the arguments say that the session prints no closing line: `-qq`, or no terminal reporter at all.
pub fn prints_no_closing(argv: &[String]) -> bool {
    let mut quiet = 0_i32;
    let mut last = "";
    for arg in argv {
        if arg == "no:terminal" && last == "-p" || arg == "-pno:terminal" {
            return true;
        }
        match arg.as_str() {
            "--quiet" => quiet += 1,
            "--verbose" => quiet -= 1,
            _ => {
                if let Some(letters) = arg.strip_prefix('-')
                    && !letters.is_empty()
                    && letters
                        .chars()
                        .all(|letter| matches!(letter, 'q' | 'v' | 's' | 'x' | 'l'))
                {
                    for letter in letters.chars() {
                        quiet += i32::from(letter == 'q') - i32::from(letter == 'v');
                    }
                }
            }
        }
        last = arg;
    }
    quiet >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn only_doubly_quiet_sessions_print_no_closing_line() {
        assert!(prints_no_closing(&words("pytest -qq a.py")));
        assert!(prints_no_closing(&words("pytest -q -q")));
        assert!(prints_no_closing(&words("pytest -p no:terminal")));
        assert!(!prints_no_closing(&words("pytest -q a.py")));
        assert!(!prints_no_closing(&words("pytest -qqv a.py")));
    }
}
