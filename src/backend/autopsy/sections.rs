//! What the looking program prints, read back, and the one text that people read first.

use std::fmt::Write as _;

/// A named part of the looking program's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) text: String,
}

/// Splits the output at the lines that begin a section. Text before the first section is an error's.
pub(super) fn read(output: &[u8]) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in String::from_utf8_lossy(output).lines() {
        if let Some(name) = line.strip_prefix("@@") {
            sections.push(Section {
                name: name.trim().to_owned(),
                text: String::new(),
            });
        } else if let Some(section) = sections.last_mut() {
            section.text.push_str(line);
            section.text.push('\n');
        }
    }
    sections
}

/// Python stacks, native stacks and threads in one text: where each process stands.
pub(super) fn stacks(python: &[Section], native: &[(i32, String)], threads: &str, notes: &[String]) -> String {
    let mut text = String::from(
        "What the session was doing when it was ended from outside.\nMore: processes.txt, files.txt, logs.txt\n",
    );
    let (printed, asked): (Vec<&Section>, Vec<&Section>) = python.iter().partition(|part| part.name == "printed");
    if !asked.is_empty() {
        text.push_str("\n=== Python stacks, most recent call first\n");
    }
    for part in asked {
        let (process, frames) = part.text.split_once('\n').unwrap_or((&part.text, ""));
        let _ = write!(text, "\n--- process {process}\n{frames}");
    }
    if !printed.is_empty() {
        text.push_str("\n=== Printed by processes that were aborted for their stacks\n\n");
        for part in printed {
            text.push_str(&part.text);
        }
    }
    if !native.is_empty() {
        text.push_str("\n=== Native stacks\n");
    }
    for (process, frames) in native {
        let _ = write!(text, "\n--- process {process}\n{}\n", frames.trim_end());
    }
    if !threads.is_empty() {
        text.push_str("\n=== Where each thread is in the kernel\n\n");
    }
    // The kernel's own frames are in processes.txt.
    for line in threads.lines().filter(|line| !line.trim_start().starts_with("[<")) {
        let _ = writeln!(text, "{line}");
    }
    if !notes.is_empty() {
        text.push_str("\n=== Not possible\n\n");
    }
    for note in notes {
        let _ = writeln!(text, "- {note}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_read_also_when_the_last_was_cut() {
        let sections = read(b"noise\n@@processes\n1 init\n@@stacks\n7 python3\n  File");
        let names: Vec<&str> = sections.iter().map(|section| section.name.as_str()).collect();
        assert_eq!(names, ["processes", "stacks"]);
        assert_eq!(sections[1].text, "7 python3\n  File\n");
    }

    #[test]
    fn the_text_says_what_was_not_possible() {
        let python = read(b"@@stacks\n7 python3 -m pytest\nThread 0x1\n  File \"a.py\", line 1 in hang\n");
        let native = [(7, "#0  clock_nanosleep ()".to_owned())];
        let threads = "7 python3\n    thread 7 S  clock_nanosleep(0x0)\n        [<0>] do_syscall_64\n";
        let text = stacks(&python, &native, threads, &["no gdb here".to_owned()]);
        insta::assert_snapshot!(text, @r#"
        What the session was doing when it was ended from outside.
        More: processes.txt, files.txt, logs.txt

        === Python stacks, most recent call first

        --- process 7 python3 -m pytest
        Thread 0x1
          File "a.py", line 1 in hang

        === Native stacks

        --- process 7
        #0  clock_nanosleep ()

        === Where each thread is in the kernel

        7 python3
            thread 7 S  clock_nanosleep(0x0)

        === Not possible

        - no gdb here
        "#);
    }
}
