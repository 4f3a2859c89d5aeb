//! Which sections to leave out.

use super::{Error, Result, Section};

/// Section names and patterns, as `objcopy -R` takes them: exact names, the wildcards `*`, `?` and `[…]`, and `!name`
/// to keep what an earlier pattern removed.
#[derive(Debug, Clone, Default)]
pub struct RemoveList {
    patterns: Vec<(bool, glob::Pattern)>,
}

impl RemoveList {
    /// A list of `patterns`.
    ///
    /// # Errors
    /// [`Error::Pattern`] when one cannot be understood.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut list = RemoveList::default();
        for text in patterns {
            let text = text.as_ref();
            let (keep, name) = match text.strip_prefix('!') {
                Some(name) => (true, name),
                None => (false, text),
            };
            let pattern = glob::Pattern::new(name)
                .map_err(|error| Error::Pattern { pattern: text.to_owned(), reason: error.to_string() })?;
            list.patterns.push((keep, pattern));
        }
        Ok(list)
    }

    /// Is `section` to be left out?
    pub fn removes(&self, section: &Section<'_>) -> bool {
        let name = section.name();
        let hit = |keep: bool| self.patterns.iter().any(|(kind, pattern)| *kind == keep && pattern.matches(&name));
        !self.patterns.is_empty() && hit(false) && !hit(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(name: &str) -> Section<'_> {
        Section {
            name: name.as_bytes(),
            kind: 1,
            flags: 0,
            addr: 0,
            offset: 0,
            size: 0,
            link: 0,
            info: 0,
            align: 1,
            entsize: 0,
        }
    }

    #[test]
    fn names_are_exact_and_patterns_are_not() {
        let list = RemoveList::new([".note", ".rel.*", "!.rel.keep"]).unwrap();
        for (name, gone) in
            [(".note", true), (".note.gnu", false), (".rel.text", true), (".rel.keep", false), (".text", false)]
        {
            assert_eq!(list.removes(&section(name)), gone, "{name}");
        }
        assert!(RemoveList::new(["a[b"]).is_err());
        assert!(!RemoveList::default().removes(&section("")));
    }
}
