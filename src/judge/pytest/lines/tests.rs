use super::*;

fn read(log: &[u8]) -> Vec<(u64, String)> {
    let mut lines = Lines::new(log);
    let mut read = Vec::new();
    while let Some(line) = lines.next_line().unwrap() {
        read.push((line.number, line.text.to_owned()));
    }
    read
}

#[test]
fn colors_carriage_returns_and_prefixes_are_gone() {
    let log = b"2024-05-01T12:34:56.1234567Z \x1b[1m===== test session starts =====\x1b[0m\r\n\
            2024-05-01T12:34:57.1234567Z collecting ... \rcollected 1 item\r\n\
            2024-05-01T12:34:57.1234567Z \r\nno prefix here\n\xff";
    let texts: Vec<(u64, String)> = read(log);
    let expected = [
        (1, "===== test session starts ====="),
        (2, "collecting ... "),
        (2, "collected 1 item"),
        (3, ""),
        (4, "no prefix here"),
        (5, "\u{fffd}"),
    ];
    assert_eq!(texts, expected.map(|(number, text)| (number, text.to_owned())));
}

#[test]
fn a_line_of_a_hundred_megabytes_keeps_its_two_ends() {
    let log = [b"start".as_slice(), &vec![b'x'; 3_000_000], b"end\nnext"].concat();
    let mut lines = Lines::new(io::BufReader::new(log.as_slice()));
    let line = lines.next_line().unwrap().unwrap();
    assert!(line.text.len() <= HEAD + TAIL);
    assert!(line.text.starts_with("start") && line.text.ends_with("end"));
    assert_eq!(lines.next_line().unwrap().unwrap().text, "next");
}

#[test]
fn utf_16_and_caret_notation_are_read() {
    let log: Vec<u8> = "\u{feff}2 passed\r\n^[[31mx^[[0m\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(read(&log)[0].1, "2 passed");
    assert_eq!(read(&log)[1].1, "x");
}

#[test]
fn the_engines_log_driver_is_read_where_it_wrote_the_log_from_its_first_line() {
    let entry = r#"{"log":"2 \u001b[32mpassed\u001b[0m\r\n","stream":"stdout","time":"2026-11-30T09:00:01Z"}"#;
    let log = format!("{entry}\n{entry}\n");
    assert_eq!(
        read(log.as_bytes()),
        [(1, "2 passed".to_owned()), (2, "2 passed".to_owned())]
    );
    // A test may print such a line.
    assert!(read(format!("x\n{entry}\n").as_bytes())[1].1.starts_with("{\"log\":"));
}

#[test]
fn timestamps_printed_by_the_tests_themselves_stay_once_the_header_came_without_one() {
    let log = b"==== test session starts ====\n2024-05-01T12:34:56Z FAILED\n";
    assert_eq!(read(log)[1].1, "2024-05-01T12:34:56Z FAILED");
}
