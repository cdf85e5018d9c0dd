//! Texts within a width: cut, or in several lines.

/// Cuts a text to a width in characters, with a sign that it was cut; control characters become blanks.
pub fn cut(text: &str, width: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    if text.chars().count() <= width {
        return text.chars().map(clean).collect();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).map(clean).collect();
    format!("{}…", kept.trim_end())
}

/// Words in lines of a width, each line after the first indented.
pub fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let room = width.saturating_sub(if lines.is_empty() { 0 } else { indent });
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines.push(line);
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_and_wrapped_by_characters() {
        assert_eq!(cut("Größe\tx", 7), "Größe x");
        assert_eq!(cut("Größenordnung", 6), "Größe…");
        assert_eq!(wrap("6 8 10 18 21 24", 8, 2), "6 8 10\n  18 21\n  24");
        assert_eq!(wrap("unbreakably-long word", 5, 0), "unbreakably-long\nword");
        assert_eq!(wrap("", 5, 0), "");
    }
}
