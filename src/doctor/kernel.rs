//! What is known of the kernel: from its own configuration, from its symbols, from a configuration beside it.

use super::data::Data;
use crate::arch::Arch;
use crate::bytes::Endian;
use crate::elf::Elf;
use crate::inspect::{Layer, Opened};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

/// Is an option set?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    Module,
    No,
    NotKnown,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Answer::Yes => "yes",
            Answer::Module => "module",
            Answer::No => "no",
            Answer::NotKnown => "not known",
        })
    }
}

/// A `.config`.
#[derive(Debug, Default)]
struct Config<'c> {
    set: HashMap<&'c str, &'c str>,
    /// Those of which it says that they are not set.
    unset: HashSet<&'c str>,
    /// Of Linux 2.4 and before, whose options have other names.
    is_old: bool,
    /// The first two numbers of its release.
    release: Option<String>,
}

impl<'c> Config<'c> {
    fn parse(text: &'c str) -> Config<'c> {
        let mut config = Config::default();
        for line in text.lines() {
            if let Some((name, value)) = line.strip_prefix("CONFIG_").and_then(|rest| rest.split_once('=')) {
                config.set.insert(name, value);
            } else if let Some(rest) = line.strip_prefix("# CONFIG_") {
                config.unset.extend(rest.strip_suffix(" is not set"));
            } else if let Some(title) = line.strip_suffix("Kernel Configuration") {
                config.release = title.split_whitespace().find_map(series);
            } else if let Some(release) = line.strip_prefix("# Linux kernel version: ") {
                config.release = series(release);
            } else {
                config.is_old |= line.contains("make config: don't edit");
            }
        }
        config.is_old &= config.release.is_none();
        config
    }

    fn answer(&self, option: &str, older: bool) -> Answer {
        match self.set.get(option) {
            Some(&"m") => Answer::Module,
            Some(&"n") => Answer::No,
            Some(_) => Answer::Yes,
            None if self.unset.contains(option) || !older && !self.is_old => Answer::No,
            None => Answer::NotKnown,
        }
    }
}

/// The first two numbers of a release: `6.1` of `6.1.0-50-amd64`.
fn series(word: &str) -> Option<String> {
    let mut numbers = word.split(|c: char| !c.is_ascii_digit());
    let (first, second) = (numbers.next()?, numbers.next()?);
    (!first.is_empty() && !second.is_empty()).then(|| format!("{first}.{second}"))
}

/// The kernel.
pub(super) struct Kernel<'k> {
    pub(super) arch: Option<Arch>,
    pub(super) is_64: Option<bool>,
    pub(super) endian: Option<Endian>,
    pub(super) release: Option<String>,
    /// Decompressed; empty where it could not be had.
    bytes: &'k [u8],
    config: Option<Config<'k>>,
    given: Option<Config<'k>>,
    symbols: HashSet<Vec<u8>>,
    data: &'k Data,
    /// What was asked for, the answer and where it is from.
    asked: RefCell<BTreeMap<String, (Answer, &'static str)>>,
}

impl<'k> Kernel<'k> {
    pub(super) fn new(opened: &'k Opened<'_>, given: Option<&'k str>, data: &'k Data) -> Kernel<'k> {
        let part = |name: &str| opened.parts().iter().find(|part| part.name == name);
        let vmlinux = part("vmlinux");
        let bytes = vmlinux.map_or(&[][..], |part| opened.part_bytes(part));
        let elf = Elf::parse(bytes).ok();
        let built_in = part("config").and_then(|part| std::str::from_utf8(opened.part_bytes(part)).ok());
        let config = built_in.map(Config::parse);
        let symbols = match (&config, vmlinux) {
            (None, Some(part)) => {
                opened.with_symbols(part).map(|it| it.names().into_iter().collect()).unwrap_or_default()
            }
            _ => HashSet::new(),
        };
        let arch = match &elf {
            Some(elf) => elf.arch(),
            // That a bzImage is x86's says nothing of the kernel's class.
            None => vmlinux.and_then(|part| opened.arch_of(part.layer)).filter(|arch| *arch != Arch::X86),
        };
        let by_arch = match arch {
            Some(Arch::Arm64) => Some(true),
            Some(Arch::Arm) => Some(false),
            _ => None,
        };
        let fact = |layer: &Layer| layer.facts.get("release").map(crate::inspect::Fact::text);
        let mut kernel = Kernel {
            arch,
            is_64: elf.as_ref().map(Elf::is_64).or(by_arch),
            endian: elf.as_ref().map(Elf::endian),
            release: opened.layers().iter().rev().find_map(fact),
            bytes,
            config,
            given: given.map(Config::parse),
            symbols,
            data,
            asked: RefCell::default(),
        };
        kernel.is_64 = kernel.is_64.or_else(|| match kernel.look("64BIT").0 {
            Answer::Yes => Some(true),
            Answer::No => Some(false),
            _ => None,
        });
        kernel
    }

    /// Is this option set?
    pub(super) fn option(&self, option: &str) -> Answer {
        let found = self.look(option);
        self.asked.borrow_mut().insert(format!("CONFIG_{option}"), found);
        found.0
    }

    fn look(&self, option: &str) -> (Answer, &'static str) {
        let driver = self.data.option.get(option);
        let found = self.look_alone(option);
        let whole = driver.and_then(|driver| driver.of.as_deref()).filter(|_| found.0 == Answer::Yes);
        whole.map_or(found, |whole| self.look_alone(whole))
    }

    fn look_alone(&self, option: &str) -> (Answer, &'static str) {
        let driver = self.data.option.get(option);
        let older = driver.is_some_and(|driver| driver.older);
        if let Some(config) = &self.config {
            return (config.answer(option, older), "its own configuration");
        }
        let is_built_in = |name: &String| self.symbols.contains(name.as_bytes());
        if driver.is_some_and(|driver| driver.symbols.iter().any(is_built_in)) {
            return (Answer::Yes, "its symbols");
        }
        match &self.given {
            Some(config) => (config.answer(option, older), "the configuration given"),
            None => (Answer::NotKnown, "neither configuration nor symbol"),
        }
    }

    /// The best answer of several options of which one is enough.
    pub(super) fn any(&self, options: &[String]) -> Answer {
        let rank = |option: &&String| match self.look(option).0 {
            Answer::Yes => 0,
            Answer::Module => 1,
            Answer::NotKnown => 2,
            Answer::No => 3,
        };
        options.iter().min_by_key(rank).map_or(Answer::No, |best| self.option(best))
    }

    /// Is an option of such a name set?
    pub(super) fn sets(&self, is_such: impl Fn(&str) -> bool) -> bool {
        let config = self.config.as_ref().or(self.given.as_ref());
        config.is_some_and(|config| config.set.keys().any(|option| is_such(option)))
    }

    /// The text of an option; empty where it has none.
    pub(super) fn text(&self, option: &str) -> &str {
        let config = self.config.as_ref().or(self.given.as_ref());
        let value = config.and_then(|config| config.set.get(option)).map_or("", |value| *value);
        value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
    }

    /// Has the kernel this text, to be printed? Of a kernel that could not be unpacked all is believed.
    pub(super) fn has_text(&self, text: &str) -> bool {
        self.bytes.is_empty() || memchr::memmem::find(self.bytes, text.as_bytes()).is_some()
    }

    /// Is nothing known of its options?
    pub(super) fn is_unknown(&self) -> bool {
        self.config.is_none() && self.given.is_none() && self.symbols.is_empty()
    }

    /// Why the configuration that was given may be another kernel's.
    pub(super) fn stranger(&self) -> Option<String> {
        let (given, release) = (self.given.as_ref()?, self.release.as_ref()?);
        if let Some(theirs) = given.release.as_ref().filter(|theirs| Some(*theirs) != series(release).as_ref()) {
            return Some(format!("the configuration is of Linux {theirs}, the kernel is {release}"));
        }
        let contradicts = |(option, driver): &(&String, &super::data::Driver)| {
            driver.symbols.iter().any(|name| self.symbols.contains(name.as_bytes()))
                && matches!(given.answer(option, driver.older), Answer::No | Answer::Module)
        };
        let (option, _) = self.data.option.iter().find(contradicts)?;
        Some(format!("the configuration says that CONFIG_{option} is not built in, and the kernel has its functions"))
    }

    /// What was asked for, in words.
    pub(super) fn facts(&self) -> BTreeMap<String, String> {
        let asked = self.asked.borrow();
        asked.iter().map(|(option, (answer, from))| (option.clone(), format!("{answer} ({from})"))).collect()
    }

    /// Those of which nothing is known.
    pub(super) fn not_known(&self) -> Vec<String> {
        let asked = self.asked.borrow();
        asked.iter().filter(|(_, (answer, _))| *answer == Answer::NotKnown).map(|(option, _)| option.clone()).collect()
    }
}
