//! What the place of our output can show.

/// Whether more than ASCII can be shown, by what the locale says; where nothing says, it is taken to be so.
#[must_use]
pub fn is_unicode() -> bool {
    let named = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty());
    named.is_none_or(|name| {
        let name = name.to_ascii_lowercase();
        name.contains("utf-8") || name.contains("utf8")
    })
}
