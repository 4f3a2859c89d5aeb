//! Which sections to leave out.

use super::{Error, Result, Section};

/// The sections that kernels carry for `modinfo` and `objcopy` alone, and that their own build leaves out of the
/// payload: `.comment` always, `.modinfo` where it is kept in `vmlinux.unstripped` (Linux 7.2,
/// scripts/Makefile.vmlinux).
pub(crate) const KERNEL_REMOVES: [&str; 2] = [".comment", MODINFO];
/// What `modinfo` says of the modules that are built in.
pub(crate) const MODINFO: &str = ".modinfo";

/// What x86's build leaves out of the system behind the setup (arch/x86/boot/Makefile, `OBJCOPYFLAGS_vmlinux.bin`).
pub(crate) const X86_REMOVES: [&str; 2] = [".note", ".comment"];

/// What ARM's build leaves out of `Image` and zImage (arch/arm/boot/Makefile, `OBJCOPYFLAGS`).
pub(crate) const ARM_REMOVES: [&str; 1] = [".comment"];

/// What the builds of arm64 and RISC-V leave out of `Image` (arch/arm64/boot/Makefile, Linux 6.12).
pub(crate) const IMAGE_REMOVES: [&str; 3] = [".comment", ".note", ".note.gnu.build-id"];

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
        RemoveList::default().and(patterns)
    }

    /// The same list with more patterns.
    pub(crate) fn and<S: AsRef<str>>(self, patterns: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut list = self;
        for text in patterns {
            let text = text.as_ref();
            let (keep, name) = match text.strip_prefix('!') {
                Some(name) => (true, name),
                None => (false, text),
            };
            let pattern = translated(name)
                .and_then(|name| glob::Pattern::new(&name).map_err(|error| error.to_string()))
                .map_err(|reason| Error::Pattern { pattern: text.to_owned(), reason })?;
            list.patterns.push((keep, pattern));
        }
        Ok(list)
    }

    /// Has the list no pattern?
    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Is `section` to be left out?
    pub(crate) fn removes(&self, section: &Section<'_>) -> bool {
        let name = String::from_utf8_lossy(section.name);
        let hit = |keep: bool| self.patterns.iter().any(|(kind, pattern)| *kind == keep && pattern.matches(&name));
        !self.patterns.is_empty() && hit(false) && !hit(true)
    }
}

/// The flags that decide whether a flat image has a section's bytes, as `objcopy --set-section-flags` sets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SectionFlags {
    /// It takes up memory.
    pub alloc: bool,
    /// It is loaded.
    pub load: bool,
    /// It is not loaded, whatever else is said.
    pub no_load: bool,
    /// It has contents: zeros, where the file has none of it.
    pub contents: bool,
}

impl SectionFlags {
    /// Is such a section in a flat image? `in_file`: the file has contents of it, which no flag takes away.
    pub(crate) fn is_written(self, in_file: bool) -> bool {
        (self.alloc || self.load) && !self.no_load && (self.contents || in_file)
    }
}

/// Sections whose flags are set by their names; the first pattern that fits decides.
#[derive(Debug, Clone, Default)]
pub struct FlagList {
    entries: Vec<(RemoveList, SectionFlags)>,
}

/// A list of patterns, as those of a [`RemoveList`], each with flags.
impl<S: AsRef<str>> TryFrom<&[(S, SectionFlags)]> for FlagList {
    type Error = Error;

    fn try_from(entries: &[(S, SectionFlags)]) -> Result<Self> {
        let entries = entries.iter().map(|(pattern, flags)| Ok((RemoveList::new([pattern])?, *flags)));
        Ok(FlagList { entries: entries.collect::<Result<_>>()? })
    }
}

impl FlagList {
    /// The flags that `section` is given, if any.
    pub(crate) fn of(&self, section: &Section<'_>) -> Option<SectionFlags> {
        self.entries.iter().find(|(pattern, _)| pattern.removes(section)).map(|(_, flags)| *flags)
    }
}

/// A pattern of fnmatch(3), which is what objcopy asks, in the words of the glob crate. That one has no backslash, no
/// `[^…]`, and a meaning of its own for `**`.
fn translated(pattern: &str) -> std::result::Result<String, String> {
    let mut out = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if out.ends_with('*') => {}
            '\\' => match chars.next() {
                Some(c) => out.push_str(&glob::Pattern::escape(c.encode_utf8(&mut [0; 4]))),
                None => return Err("nothing follows the backslash".to_owned()),
            },
            '[' => {
                out.push(c);
                if chars.next_if(|c| matches!(c, '!' | '^')).is_some() {
                    out.push('!');
                }
                // A bracket that comes first is one of the characters.
                out.extend(chars.next_if_eq(&']'));
                while let Some(c) = chars.next() {
                    out.push(c);
                    match (c, chars.peek()) {
                        (']', _) => break,
                        ('\\', _) => return Err("a backslash inside of [ ] is not supported".to_owned()),
                        ('[', Some(':' | '.' | '=')) => return Err("[[:class:]] is not supported".to_owned()),
                        _ => {}
                    }
                }
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(name: &str) -> Section<'_> {
        Section { name: name.as_bytes(), kind: 1, align: 1, ..Section::default() }
    }

    #[test]
    fn names_are_exact_and_patterns_are_not() {
        let list = RemoveList::new([".note", ".rel.*", "!.rel.keep"]).unwrap();
        for (name, gone) in
            [(".note", true), (".note.gnu", false), (".rel.text", true), (".rel.keep", false), (".text", false)]
        {
            assert_eq!(list.removes(&section(name)), gone, "{name}");
        }
        for bad in ["a[b", "a[[:alpha:]]", "a[\\]]", "a\\"] {
            assert!(RemoveList::new([bad]).is_err(), "{bad}");
        }
        assert!(!RemoveList::default().removes(&section("")));
    }
}
