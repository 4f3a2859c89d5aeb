//! The link that makes the kernel's decompressor, from the command that kbuild kept beside it in `.vmlinux.cmd`.
//!
//! [`LinkCommand::parse`] tells what each word of that command is for; the caller puts in another `piggy.o`, output,
//! symbol value or linker, and runs [`LinkCommand::words`] in the kernel's build folder. Nothing is run here, no shell is
//! ever needed, and a command that would write anything but its output is refused: the build folder is only read.

use super::LinkError as Error;
use super::words;
use crate::arch::Arch;

type Result<T> = std::result::Result<T, Error>;

/// What a word or an option with its value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// An option that passes through as it is.
    Option,
    /// The linker itself.
    Linker,
    /// `-T`, `--script`: the linker script.
    Script,
    /// `-m`: the emulation.
    Emulation,
    /// `--defsym`: a symbol's value.
    Defsym,
    /// `-o`, `--output`.
    Output,
    /// An archive to link.
    Archive,
    /// The object with the compressed kernel.
    Piggy,
    /// Another object to link.
    Object,
}

/// One argument: `lead` is the option as it stands there, with its `=` where it has one; `value` is what it applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Arg {
    role: Role,
    lead: String,
    /// The value is a word of its own.
    apart: bool,
    value: String,
}

/// A link command, its words understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkCommand {
    args: Vec<Arg>,
}

/// Long options of GNU ld 2.40 and lld 14 whose value may be the next word (binutils `ld/lexsup.c`, lld
/// `ELF/Options.td`); one dash does as well as two.
#[rustfmt::skip]
const LONG_WITH_VALUE: &[&str] = &[
    "assert", "architecture", "auxiliary", "entry", "export-dynamic-symbol", "export-dynamic-symbol-list", "filter",
    "fini", "format", "init", "just-symbols", "library", "library-path", "mllvm", "oformat", "orphan-handling",
    "retain-symbols-file", "rpath", "rpath-link", "section-start", "soname", "sort-section", "Tbss", "Tdata", "Ttext",
    "Tldata-segment", "Trodata-segment", "Ttext-segment", "trace-symbol", "undefined", "unresolved-symbols",
    "version-script", "wrap", "dynamic-linker", "dynamic-list", "hash-style", "icf", "image-base", "require-defined",
    "gpsize", "task-link", "script", "output", "defsym",
];
/// Short options with a value, attached or as the next word.
const SHORT_WITH_VALUE: &str = "AabeFfGhIlLmoRTuyYz";

/// Options that are refused, and why. Any of them may have its value attached with `=`.
const REFUSED: &[(&str, &str)] = &[
    ("Map", WRITES),
    ("dependency-file", WRITES),
    ("out-implib", WRITES),
    ("reproduce", WRITES),
    ("save-temps", WRITES),
    ("time-trace", WRITES),
    ("time-trace-file", WRITES),
    ("lto-obj-path", WRITES),
    ("opt-remarks-filename", WRITES),
    ("thinlto-cache-dir", WRITES),
    ("mri-script", HIDES),
    ("c", HIDES),
    ("default-script", HIDES),
    ("dT", HIDES),
    ("plugin", RUNS),
    ("load-pass-plugin", RUNS),
    ("chroot", HIDES),
];
const WRITES: &str = "writes files beside the output";
const HIDES: &str = "takes files from where the command does not show them";
const RUNS: &str = "runs other code inside the linker";

impl LinkCommand {
    /// Reads the text of `.vmlinux.cmd`. `linker` replaces the linker that the command names.
    ///
    /// # Errors
    /// Every variant of [`LinkError`](Error); the first command must be one link with one script, one output and one `piggy.o`.
    pub fn parse(text: &[u8], linker: Option<&str>) -> Result<Self> {
        let kept = words::read(text)?;
        let mut words = kept.words.into_iter();
        let first = words.next().unwrap_or_default();
        // An assignment before the command is not its first word, whatever linker is put there.
        if first.contains('=') || (linker.is_none() && !is_linker(&first)) {
            return Err(Error::NotALinker { found: first });
        }
        let mut args = vec![plain(Role::Linker, linker.map_or(first, str::to_owned))];
        while let Some(word) = words.next() {
            args.push(argument(word, &mut words)?);
        }
        let command = LinkCommand { args };
        for (role, what) in
            [(Role::Output, "outputs (-o)"), (Role::Script, "linker scripts (-T)"), (Role::Piggy, "piggy.o")]
        {
            let count = command.with_role(role).count();
            if count != 1 {
                return Err(Error::Count { what, count });
            }
        }
        if command.output() != kept.target {
            return Err(Error::Target { target: kept.target, output: command.output().to_owned() });
        }
        Ok(command)
    }

    fn with_role(&self, role: Role) -> impl Iterator<Item = &str> {
        self.args.iter().filter(move |arg| arg.role == role).map(|arg| arg.value.as_str())
    }

    fn only(&self, role: Role) -> &str {
        self.with_role(role).next().unwrap_or_default()
    }

    /// The linker: a name to be looked up in `PATH`, or a path.
    pub fn linker(&self) -> &str {
        self.only(Role::Linker)
    }

    /// The file it writes, from the build folder.
    pub(crate) fn output(&self) -> &str {
        self.only(Role::Output)
    }

    /// The emulation (`-m`); of several the last one counts, as for the linker.
    pub(crate) fn emulation(&self) -> Option<&str> {
        self.with_role(Role::Emulation).last()
    }

    /// The objects besides piggy.o, in the order of the command.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &str> {
        self.with_role(Role::Object)
    }

    /// The archives, in the order of the command.
    pub(crate) fn archives(&self) -> impl Iterator<Item = &str> {
        self.with_role(Role::Archive)
    }

    /// Every file that the link reads, besides piggy.o. The members of a thin archive are files too, see
    /// [`super::tree::thin_members`].
    pub(crate) fn reads(&self) -> impl Iterator<Item = &str> {
        self.with_role(Role::Script).chain(self.objects()).chain(self.archives())
    }

    /// The CPU that the command links for: by its emulation, without one by the folder of its output.
    pub(crate) fn arch(&self) -> Option<Arch> {
        match self.emulation() {
            Some("elf_x86_64") => Some(Arch::X86_64),
            Some("elf_i386") => Some(Arch::X86),
            Some("armelf_linux_eabi" | "armelfb_linux_eabi") => Some(Arch::Arm),
            None if self.output().starts_with("arch/arm/") => Some(Arch::Arm),
            _ => None,
        }
    }

    /// Links the file `piggy` in place of piggy.o, and writes `output` in place of its output.
    pub fn redirect(&mut self, piggy: &str, output: &str) {
        self.set(Role::Piggy, |_| Some(piggy.to_owned()));
        self.set(Role::Output, |_| Some(output.to_owned()));
    }

    /// Gives `symbol`, which the command must define, another value; false when it does not.
    pub(crate) fn set_defsym(&mut self, symbol: &str, value: u64) -> bool {
        self.set(Role::Defsym, |old| {
            let (name, _) = old.split_once('=')?;
            (name == symbol).then(|| format!("{name}={value}"))
        })
    }

    fn set(&mut self, role: Role, new: impl Fn(&str) -> Option<String>) -> bool {
        let mut done = false;
        for arg in self.args.iter_mut().filter(|arg| arg.role == role) {
            if let Some(value) = new(&arg.value) {
                arg.value = value;
                done = true;
            }
        }
        done
    }

    /// The words to run, the linker first.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for arg in &self.args {
            if arg.apart {
                words.extend([arg.lead.clone(), arg.value.clone()]);
            } else {
                words.push(format!("{}{}", arg.lead, arg.value));
            }
        }
        words
    }
}

fn plain(role: Role, value: String) -> Arg {
    Arg { role, lead: String::new(), apart: false, value }
}

/// Is this what linkers are called? `ld`, `mold`, `wild`, with a prefix (`arm-linux-gnueabihf-ld`), a kind (`ld.lld`) and a
/// version (`ld.lld-17`).
fn is_linker(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or_default();
    let unversioned = name.trim_end_matches(|char: char| char.is_ascii_digit() || char == '.');
    let name = unversioned.strip_suffix('-').unwrap_or(name);
    let name = [".bfd", ".gold", ".lld", ".mold"].iter().find_map(|kind| name.strip_suffix(kind)).unwrap_or(name);
    matches!(name, "ld" | "mold" | "wild") || name.ends_with("-ld")
}

fn argument(word: String, words: &mut impl Iterator<Item = String>) -> Result<Arg> {
    if word.starts_with('@') {
        return Err(Error::Option { option: word, why: HIDES });
    }
    let Some(bare) = word.strip_prefix('-').filter(|bare| !bare.is_empty()) else {
        let name = word.rsplit('/').next().unwrap_or_default();
        let role = if name.ends_with(".a") {
            Role::Archive
        } else if name.starts_with("piggy.") && name.ends_with(".o") {
            Role::Piggy
        } else {
            Role::Object
        };
        return Ok(plain(role, word));
    };
    let long = bare.strip_prefix('-').unwrap_or(bare);
    let (name, attached) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (long, None),
    };
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Err(Error::Option { option: word, why });
    }
    let mut next = |option: &str| words.next().ok_or_else(|| Error::NoValue { option: option.to_owned() });
    // With one dash, what begins with `o` is `-o` and its value.
    if LONG_WITH_VALUE.contains(&name) && (bare != long || !name.starts_with('o')) {
        let role = match name {
            "script" => Role::Script,
            "output" => Role::Output,
            "defsym" => Role::Defsym,
            _ => Role::Option,
        };
        return Ok(match attached {
            Some(value) => {
                let lead = word.strip_suffix(value.as_str()).unwrap_or_default().to_owned();
                Arg { role, lead, apart: false, value }
            }
            None => {
                let value = next(&word)?;
                Arg { role, lead: word, apart: true, value }
            }
        });
    }
    let Some(letter) = bare.chars().next().filter(|letter| bare == long && SHORT_WITH_VALUE.contains(*letter)) else {
        return Ok(Arg { role: Role::Option, lead: word, apart: false, value: String::new() });
    };
    let role = match letter {
        'T' => Role::Script,
        'm' => Role::Emulation,
        'o' => Role::Output,
        _ => Role::Option,
    };
    let value = bare.strip_prefix(letter).unwrap_or_default().to_owned();
    Ok(if value.is_empty() {
        let value = next(&word)?;
        Arg { role, lead: word, apart: true, value }
    } else {
        Arg { role, lead: format!("-{letter}"), apart: false, value }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::help;

    const ARM: &str = "cmd_arch/arm/boot/compressed/vmlinux := arm-linux-gnueabihf-ld -EL -z noexecstack \
        --no-warn-rwx-segments  --defsym _kernel_bss_size=173744 --defsym=zreladdr=0x60008000 --no-undefined -X \
        --orphan-handling=warn -T arch/arm/boot/compressed/vmlinux.lds arch/arm/boot/compressed/head.o \
        arch/arm/boot/compressed/piggy.o drivers/lib.a -o arch/arm/boot/compressed/vmlinux ; true";

    fn parse(command: &str) -> Result<LinkCommand> {
        LinkCommand::parse(format!("cmd_v := {command}").as_bytes(), None)
    }

    #[test]
    fn every_word_has_its_role() {
        let mut link = LinkCommand::parse(ARM.as_bytes(), None).unwrap();
        assert_eq!(link.linker(), "arm-linux-gnueabihf-ld");
        assert_eq!((link.emulation(), link.arch()), (None, Some(Arch::Arm)));
        assert_eq!(link.objects().collect::<Vec<_>>(), ["arch/arm/boot/compressed/head.o"]);
        assert_eq!(link.archives().collect::<Vec<_>>(), ["drivers/lib.a"]);
        let all = ["arch/arm/boot/compressed/vmlinux.lds", "arch/arm/boot/compressed/head.o", "drivers/lib.a"];
        assert_eq!(link.reads().collect::<Vec<_>>(), all);
        // Unchanged, the words are those of the command.
        let want: Vec<_> = ARM.split_whitespace().skip(2).collect();
        assert_eq!(link.words(), want[..want.len() - 2]);

        link.redirect("/tmp/piggy.o", "/tmp/vmlinux");
        assert!(link.set_defsym("_kernel_bss_size", 4096));
        assert!(link.set_defsym("zreladdr", 1));
        assert!(!link.set_defsym("_kernel", 0));
        let words = link.words();
        for word in ["/tmp/piggy.o", "/tmp/vmlinux", "_kernel_bss_size=4096", "--defsym=zreladdr=1"] {
            assert!(words.iter().any(|other| other == word), "{word}: {words:?}");
        }
    }

    #[test]
    fn attached_values() {
        let link = parse("ld -melf_i386 -m elf_x86_64 --script=a.lds piggy.gzip.o -ov").unwrap();
        assert_eq!((link.emulation(), link.output()), (Some("elf_x86_64"), "v"));
        assert_eq!(link.reads().collect::<Vec<_>>(), ["a.lds"]);
        assert_eq!(link.words(), ["ld", "-melf_i386", "-m", "elf_x86_64", "--script=a.lds", "piggy.gzip.o", "-ov"]);
        let mut link =
            parse("ld -Ttext 0 -Ttext=0 -e a.o -u b.o -z c.o -Ta.lds -defsym x=1 piggy.o --output v").unwrap();
        assert_eq!(link.reads().collect::<Vec<_>>(), ["a.lds"]);
        assert!(link.set_defsym("x", 2) && link.words().contains(&"x=2".to_owned()));
        assert!(parse("ld -EB -T a -shared -be8 b.o piggy.o -o v").is_ok());
    }

    #[test]
    fn linkers_by_name() {
        for name in ["ld", "/usr/bin/x86_64-linux-gnu-ld.bfd", "ld.lld-17", "ld.lld", "./mold", "arm-ld", "ld-2.40"] {
            assert!(is_linker(name), "{name}");
        }
        for name in ["", "rm", "gcc", "ld/", "sh", "old", "lld.sh", "ld.so", "ldd", "-17"] {
            assert!(!is_linker(name), "{name}");
        }
        let found = |command: &str, ld| LinkCommand::parse(format!("cmd_v := {command}").as_bytes(), ld).unwrap_err();
        assert_eq!(found("rm -rf /", None), Error::NotALinker { found: "rm".into() });
        assert_eq!(found("", None), Error::NotALinker { found: String::new() });
        assert_eq!(found("LANG=C ld", Some("ld")), Error::NotALinker { found: "LANG=C".into() });
        assert_eq!(found("rm -rf /", Some("ld")), Error::Count { what: "outputs (-o)", count: 0 });
        let link = LinkCommand::parse(b"cmd_v := mylink -T a piggy.o -o v", Some("/opt/ld.lld")).unwrap();
        assert_eq!(link.words(), ["/opt/ld.lld", "-T", "a", "piggy.o", "-o", "v"]);
    }

    #[test]
    fn commands_that_are_not_one_plain_link() {
        for (command, words) in [
            ("ld -T a piggy.o -o v -o w", "2 outputs"),
            ("ld -T a -T b piggy.o -o v", "2 linker scripts"),
            ("ld -T a x.o -o v", "0 piggy.o"),
            ("ld -T a a/piggy.o b/piggy.o -o v", "2 piggy.o"),
            ("ld -T a piggy.o -o w", "kept for v, but writes w"),
            ("ld -T a piggy.o -o", "ends in `-o`"),
            ("ld -T a piggy.o -o v --defsym", "ends in `--defsym`"),
            ("ld -T a piggy.o -o v -Map x", "`-Map`, which writes files"),
            ("ld -T a piggy.o -o v --Map=x", "`--Map=x`, which writes files"),
            ("ld -T a piggy.o -o v --dependency-file=/etc/passwd", "which writes files"),
            ("ld -T a piggy.o -o v -plugin ./evil.so", "which runs other code"),
            ("ld -T a piggy.o -o v @more", "`@more`, which takes files"),
            ("ld -T a piggy.o -o v -c x", "`-c`, which takes files"),
        ] {
            let error = parse(command).unwrap_err();
            assert!(error.to_string().contains(words), "{command}: {error}");
            assert!(!help(&error).is_empty());
        }
    }
}
