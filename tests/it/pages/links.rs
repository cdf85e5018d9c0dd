//! Links and the table of contents of the pages.

use std::fs;

use regex::Regex;

use super::{Page, pages, root};

/// Every page of Markdown of the repository that people follow links in.
fn linking() -> Vec<Page> {
    let mut found = pages();
    for name in [
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "examples/router/README.md",
        "examples/router/RESULTS.md",
        "examples/engines/README.md",
    ] {
        found.push(Page {
            name: name.to_owned(),
            text: fs::read_to_string(root().join(name)).unwrap(),
        });
    }
    found
}

/// A heading as the end of a link names it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)").unwrap();
    let mut n_links = 0;
    for page in linking() {
        let mut in_block = false;
        for line in page.text.lines() {
            in_block ^= line.starts_with("```");
            if in_block {
                continue;
            }
            for found in link.captures_iter(line) {
                let target = found.get(1).or(found.get(2)).unwrap().as_str();
                if target.starts_with("https://") {
                    continue;
                }
                let (file, heading) = target.split_once('#').unwrap_or((target, ""));
                let at = root().join(&page.name);
                let at = if file.is_empty() { at } else { at.with_file_name(file) };
                assert!(at.exists(), "{}: `{target}` leads nowhere", page.name);
                if !heading.is_empty() {
                    let text = fs::read_to_string(&at).unwrap();
                    let has = text
                        .lines()
                        .any(|line| line.starts_with('#') && anchor(line) == heading);
                    assert!(has, "{}: `{target}` names no heading", page.name);
                }
                n_links += 1;
            }
        }
    }
    assert!(n_links >= 40, "only {n_links} links were found");
}

#[test]
fn the_book_has_every_page() {
    let contents = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    for page in pages() {
        let Some(name) = page.name.strip_prefix("docs/").filter(|name| *name != "SUMMARY.md") else {
            continue;
        };
        assert!(contents.contains(&format!("({name})")), "docs/SUMMARY.md has no {name}");
    }
}
