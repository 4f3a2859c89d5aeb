//! The rules: what the kernel does from its command line to its first program.
//!
//! Source: init/main.c (`kernel_init`, `console_on_rootfs`), init/do_mounts.c (`prepare_namespace`), Linux 7.2.

use super::data::{Data, Level, Target};
use super::exec::{Exec, Files};
use super::initrd::{ENOENT, Tree};
use super::kernel::Answer;
use super::rules;
use crate::finding::{Finding, Rule, Severity};
use crate::format::cpio::{CHARACTER, FILE};
use crate::inspect::Kind;

/// A kernel's command line.
#[derive(Debug)]
pub(super) struct CommandLine {
    words: Vec<String>,
}

impl CommandLine {
    pub(super) fn parse(text: &str) -> CommandLine {
        let mut is_quoted = false;
        let words = text.split(|c: char| {
            is_quoted ^= c == '"';
            c.is_whitespace() && !is_quoted
        });
        // What follows is the first program's.
        let words = words.take_while(|word| *word != "--").filter(|word| !word.is_empty());
        CommandLine { words: words.map(|word| word.replace('"', "")).collect() }
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.words.iter().filter_map(move |word| word.strip_prefix(name)?.strip_prefix('='))
    }

    fn last(&self, name: &str) -> Option<&str> {
        self.all(name).last()
    }

    fn has(&self, word: &str) -> bool {
        self.words.iter().any(|other| other == word)
    }
}

/// How far the kernel comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A program of the initial RAM disk runs.
    Initrd,
    /// The kernel mounts root= by itself.
    Root,
    /// It depends on what was not told.
    NotKnown,
}

/// The boot that is looked at.
pub(super) struct Boot<'b> {
    pub(super) files: Files<'b>,
    /// The files of a kernel that unpacks nothing of an initial RAM disk.
    pub(super) bare: &'b Tree<'b>,
    pub(super) data: &'b Data,
    /// What the kernel's command line is; `None` when nobody says it.
    pub(super) line: Option<&'b CommandLine>,
    /// Is that what the boot loader gives, so that what was not given is not there?
    pub(super) is_told: bool,
    /// Was an initial RAM disk given?
    pub(super) has_initrd: bool,
    /// A header names a root device.
    pub(super) has_root: bool,
    pub(super) findings: Vec<Finding>,
}

impl Boot<'_> {
    fn add(&mut self, rule: &'static Rule, message: String) {
        self.findings.push(rule.finding(message));
    }

    fn option(&self, option: &str) -> Answer {
        self.files.kernel.option(option)
    }

    fn word(&self, name: &str) -> Option<&str> {
        self.line.and_then(|line| line.last(name))
    }

    /// Goes the whole way; true when a program runs at its end.
    pub(super) fn check(&mut self, kind: Kind) -> bool {
        if !self.initrd() {
            self.files.tree = self.bare;
            self.has_initrd = false;
        }
        let way = self.init();
        self.console();
        let is_reachable = self.root(way);
        for target in &self.data.target {
            self.target(target, kind, way, is_reachable);
        }
        way == Way::Initrd
    }

    /// Is what the boot loader gives unpacked? Says what is not.
    fn initrd(&mut self) -> bool {
        let tree = self.files.tree;
        if self.has_initrd && self.option("BLK_DEV_INITRD") == Answer::No {
            self.add(&rules::INITRD, "CONFIG_BLK_DEV_INITRD is not set, and an initial RAM disk is given".to_owned());
            return false;
        }
        if let Some((fault, is_told)) = &tree.fault {
            // A kernel with RAM disks of the old kind takes it for the image of one.
            const IMAGE: &str = "rootfs image is not initramfs";
            let takes_image = self.option("BLK_DEV_RAM") == Answer::Yes && self.files.kernel.has_text(IMAGE);
            let seen = match is_told {
                true => will_show(&[if takes_image { IMAGE } else { "Initramfs unpacking failed" }]),
                false => "the kernel stops there, silently".to_owned(),
            };
            let finding = rules::INITRD_UNPACK.finding(format!("{}: {seen}", fault.message));
            self.findings.push(finding.with_help(fault.help.clone()));
        }
        for codec in &tree.codecs {
            let name = codec.name().split(' ').next().unwrap_or_default();
            let option = format!("RD_{}", name.to_ascii_uppercase());
            if self.option(&option) == Answer::No {
                let seen = will_show(&[format!("compression method {name} not configured")]);
                let what = format!("the initial RAM disk is compressed by {name}, and CONFIG_{option} is not set");
                let help = format!("set CONFIG_{option}=y, or compress it in another way");
                self.findings.push(rules::INITRD_CODEC.finding(format!("{what}: {seen}")).with_help(help));
                return false;
            }
        }
        if let [first, more @ ..] = &*tree.lost {
            let more = if more.is_empty() { String::new() } else { format!(" (and {} more)", more.len()) };
            let message = format!("{first}{more} is in a folder that the archive does not have: the kernel drops it");
            self.add(&rules::INITRD_FOLDER, message);
        }
        true
    }

    /// The first program, as the kernel looks for it.
    fn init(&mut self) -> Way {
        let (tree, kernel) = (self.files.tree, self.files.kernel);
        let path = self.word("rdinit").unwrap_or("/init").to_owned();
        let (mut words, mut whys) = (Vec::new(), Vec::new());
        match tree.find(path.as_bytes()) {
            Ok(_) => match self.tried(&path, &mut whys) {
                Ok(way) => return way,
                Err(error) if kernel.has_text("Failed to execute %s (error %d)") => {
                    words.push(format!("Failed to execute {path} (error -{error})"));
                }
                Err(_) => words.push(format!("Failed to execute {path}")),
            },
            Err(_) if tree.is_partial => return Way::NotKnown,
            // Nobody told what the boot loader gives.
            Err(_) if !self.is_told && self.findings.is_empty() && !self.has_initrd => return Way::NotKnown,
            Err(error) => {
                if self.has_initrd || self.word("rdinit").is_some() {
                    whys.push(format!("the initial RAM disk has no {path}"));
                    if kernel.has_text("check access for rdinit=%s failed: %i, ignoring") {
                        words.push(format!("check access for rdinit={path} failed: -{error}, ignoring"));
                    }
                }
                if self.option("BLOCK") != Answer::No {
                    return self.mounts_root(&whys);
                }
            }
        }
        // The files are still those of the initial RAM disk: /init is there, or without CONFIG_BLOCK nothing is mounted.
        let named = self.word("init").map(str::to_owned);
        let is_requested = named.is_some() && kernel.has_text("Requested init %s failed");
        let named = named.unwrap_or_else(|| kernel.text("DEFAULT_INIT").to_owned());
        let others: &[&str] = if is_requested { &[] } else { &["/sbin/init", "/etc/init", "/bin/init", "/bin/sh"] };
        let mut last = ENOENT;
        for path in [&*named].into_iter().filter(|path| !path.is_empty()).chain(others.iter().copied()) {
            match self.tried(path, &mut whys) {
                Ok(way) => return way,
                Err(error) => last = error,
            }
        }
        words.push(match is_requested {
            true => format!("Requested init {named} failed (error -{last})."),
            false if kernel.has_text("No working init found") => "No working init found".to_owned(),
            false => "No init found".to_owned(),
        });
        whys.retain(|why| !why.starts_with("there is no /"));
        let why = if whys.is_empty() { "no first program is there".to_owned() } else { whys.join("; ") };
        self.add(&rules::INIT, format!("{why}: {}", will_show(&words)));
        Way::NotKnown
    }

    /// Tries a program: how it ends, or the number of the error when it does not start.
    fn tried(&mut self, path: &str, whys: &mut Vec<String>) -> Result<Way, i32> {
        match self.files.exec(path) {
            Exec::Runs => return Ok(Way::Initrd),
            Exec::NotKnown(what) => self.add(&rules::NOT_KNOWN, format!("whether {path} starts: {what} is not known")),
            Exec::Dies(why) => {
                self.add(&rules::INIT_LIBRARY, format!("{why}: {}", will_show(&["Attempted to kill init!"])));
            }
            Exec::Fails(error, why) => {
                whys.push(why);
                return Err(error);
            }
        }
        Ok(Way::NotKnown)
    }

    /// There is no program in an initial RAM disk.
    fn mounts_root(&mut self, whys: &[String]) -> Way {
        if self.is_told {
            return Way::Root;
        }
        if let Some(why) = whys.first() {
            let message = format!("{why}: the kernel mounts root= of its command line by itself, which was not told");
            let finding = rules::INIT.finding(message).with_severity(Severity::Warning);
            self.findings.push(finding.with_help("give the command line, or put /init there"));
        }
        Way::NotKnown
    }

    fn console(&mut self) {
        let names: Vec<&str> = self.line.iter().flat_map(|line| line.all("console")).collect();
        let is_listed = |option: &str| self.data.console.values().flatten().any(|listed| listed == option);
        // All of them have that.
        let is_serial = |option: &str| option.starts_with("SERIAL_") && option != "SERIAL_CORE_CONSOLE";
        let is_other = |option: &str| is_serial(option) && option.ends_with("_CONSOLE") && !is_listed(option);
        let has_other = self.files.kernel.sets(is_other);
        let mut without = Vec::new();
        for name in &names {
            let device = name.split(',').next().unwrap_or(name).trim_end_matches(|c: char| c.is_ascii_digit());
            let Some(options) = self.data.console.get(device) else { continue };
            match self.files.kernel.any(options) {
                Answer::No if has_other => {}
                Answer::No => without.push((name, options, "not")),
                Answer::Module => without.push((name, options, "only as a module")),
                Answer::Yes | Answer::NotKnown => {}
            }
        }
        // Where one of them has a driver, that is /dev/console.
        let seen = match without.len() == names.len() {
            true => will_show(&["Warning: unable to open an initial console."]),
            false => "nothing will be seen there".to_owned(),
        };
        for (name, options, how) in without {
            let finding = rules::CONSOLE.finding(format!("the driver of console={name} is {how} built in: {seen}"));
            let option = options.first().map_or("", String::as_str);
            self.findings.push(finding.with_help(format!("set CONFIG_{option}=y, or name another console")));
        }
        let silent = will_show(&["unable to open an initial console"]);
        let found = match self.files.tree.find(b"dev/console") {
            // That, or another terminal.
            Ok(node) if node.kind() == CHARACTER => return,
            Ok(node) if node.kind() == FILE => "a regular file: what the first program writes goes there".to_owned(),
            Ok(_) => format!("no terminal: {silent}"),
            Err(_) if self.files.tree.is_partial => return,
            Err(_) => format!("not there: {silent}"),
        };
        self.add(&rules::CONSOLE_NODE, format!("/dev/console is {found}"));
    }

    /// The root device and its file system; true when all that its name calls for is built in.
    fn root(&mut self, way: Way) -> bool {
        const PANIC: &str = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(";
        let Some(line) = self.line else { return false };
        let mounts = way == Way::Root;
        let nothing = will_show(&[format!("{PANIC}0,0)")]);
        let Some(root) = line.last("root") else {
            if mounts && !self.has_root {
                let message = format!("neither root= nor a program in an initial RAM disk: {nothing}");
                self.add(&rules::ROOT, message);
            }
            return false;
        };
        if mounts && (root.starts_with("UUID=") || root.starts_with("LABEL=")) {
            let what =
                format!("root={root} is for an initial RAM disk to understand, and none that has /init is there");
            let help = "name the device, or PARTUUID=, or give the initial RAM disk";
            self.findings.push(rules::ROOT.finding(format!("{what}: {nothing}")).with_help(help));
            return false;
        }
        let waits = line.has("rootwait");
        let device = root.strip_prefix("/dev/").unwrap_or(root);
        let named = self.data.root.iter().filter(|(start, _)| device.starts_with(start.as_str()));
        let known = named.max_by_key(|(start, _)| start.len()).map(|(_, known)| known);
        let before = self.findings.len();
        for options in known.iter().flat_map(|known| &known.needs) {
            let waiting = will_show(&[format!("Waiting for root device {root}...")]);
            let seen = if waits { &waiting } else { &nothing };
            self.driver(&rules::ROOT, options, &format!("root={root}"), way, seen);
        }
        let is_there = self.findings.len() == before;
        let is_late = known.is_some_and(|known| known.late) && !waits && line.last("rootdelay").is_none();
        if mounts && is_there && is_late {
            let message = format!("root={root} shows up late, and there is no rootwait: perhaps {nothing}");
            self.add(&rules::ROOT_WAIT, message);
        }
        self.filesystem(line, way, is_there, &will_show(&[PANIC]));
        if mounts && self.option("DEVTMPFS") == Answer::No {
            self.add(&rules::DEVTMPFS, "CONFIG_DEVTMPFS is not set".to_owned());
        }
        is_there && known.is_some_and(|known| !known.controller)
    }

    fn filesystem(&mut self, line: &CommandLine, way: Way, is_there: bool, seen: &str) {
        let kernel = self.files.kernel;
        let Some(kinds) = line.last("rootfstype") else {
            let all: Vec<String> = self.data.filesystem.values().flatten().cloned().collect();
            if way == Way::Root && is_there && matches!(kernel.any(&all), Answer::No | Answer::Module) {
                // There are others.
                let finding = rules::ROOT_FILESYSTEM.finding(format!("no usual file system is built in: {seen}"));
                self.findings.push(finding.with_severity(Severity::Warning));
            }
            return;
        };
        let known: Option<Vec<_>> = kinds.split(',').map(|kind| self.data.filesystem.get(kind)).collect();
        let options: Vec<String> = known.into_iter().flatten().flatten().cloned().collect();
        if is_there && !options.is_empty() {
            self.driver(&rules::ROOT_FILESYSTEM, &options, &format!("rootfstype={kinds}"), way, seen);
        }
    }

    /// Is one of these there, where it is needed? An error where the kernel itself needs it.
    fn driver(&mut self, rule: &'static Rule, options: &[String], what: &str, way: Way, seen: &str) {
        let (kernel, tree) = (self.files.kernel, self.files.tree);
        let is_carried = options.iter().any(|option| tree.has_module(&self.data.module(option)));
        let mounts = way == Way::Root;
        let answer = kernel.any(options);
        let state = match answer {
            Answer::Yes | Answer::NotKnown => return,
            // Who loads it is the first program of the initial RAM disk.
            _ if is_carried && !mounts => return,
            Answer::No => "not at all",
            Answer::Module if mounts => "only as a module, and the kernel mounts the root file system by itself",
            Answer::Module if self.has_initrd && !tree.is_partial => {
                "only as a module, which the initial RAM disk does not have"
            }
            // Nobody said what loads it.
            Answer::Module => return,
        };
        let first = options.first().map_or("", String::as_str);
        let help = match answer {
            Answer::Module => {
                let module = self.data.module(first);
                format!("set CONFIG_{first}=y, or put {module}.ko into an initial RAM disk that loads it")
            }
            _ => format!("set CONFIG_{first}=y"),
        };
        let seen = if mounts { format!(": {seen}") } else { String::new() };
        let message = format!("{what} needs {}, which the kernel has {state}{seen}", named(options));
        let severity = if mounts { Severity::Error } else { Severity::Warning };
        self.findings.push(rule.finding(message).with_severity(severity).with_help(help));
    }

    fn target(&mut self, target: &Target, kind: Kind, way: Way, is_reachable: bool) {
        const PANIC: &str = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)";
        let kernel = self.files.kernel;
        let name = &target.name;
        if let Some(arch) = kernel.arch.map(|arch| arch.to_string()).filter(|_| !target.arch.is_empty()) {
            if !target.arch.contains(&arch) {
                let message = format!("the kernel is for {arch}, {name} is {}", target.arch.join(" or "));
                self.add(&rules::TARGET_CPU, message);
            }
        }
        if !target.formats.is_empty() && !target.formats.iter().any(|format| format == kind.id()) {
            let finding =
                rules::TARGET_FORMAT.finding(format!("{} takes no file of this kind ({})", target.about, kind.id()));
            self.findings.push(finding.with_help(format!("give it {}", target.wants)));
        }
        for need in &target.need {
            let what = format!("{name} ({})", need.what);
            let severity = match (need.level, kernel.any(&need.any)) {
                (Level::Root, _) => {
                    // A root device that the kernel reaches otherwise is none of the target's.
                    let way = if is_reachable { Way::NotKnown } else { way };
                    self.driver(&rules::ROOT, &need.any, &what, way, &will_show(&[PANIC]));
                    continue;
                }
                (Level::Must, Answer::No) => Severity::Error,
                (Level::Should | Level::Console, Answer::No) => Severity::Warning,
                _ => continue,
            };
            let finding = rules::TARGET.finding(format!("{what} needs {}, which is not set", named(&need.any)));
            let help = format!("set CONFIG_{}=y", need.any.first().map_or("", String::as_str));
            self.findings.push(finding.with_severity(severity).with_help(help));
        }
    }

    /// What a log of this or an earlier boot shows.
    pub(super) fn log(&mut self, log: &str) {
        let mut seen: Vec<&str> = Vec::new();
        for (number, text) in (1..).zip(log.lines()) {
            let Some(known) = self.data.log.iter().find(|message| message.is_in(text)) else { continue };
            if !seen.contains(&&*known.cause) {
                seen.push(&known.cause);
                let finding =
                    rules::LOG.finding(format!("line {number} of the log, {:?}: {}", text.trim(), known.cause));
                self.findings.push(finding.with_severity(known.severity()).with_help(known.help.clone()));
            }
        }
        if seen.is_empty() {
            let finding = rules::LOG.finding("no message of the log is known to kimage");
            self.findings.push(finding.with_severity(Severity::Note));
        }
    }
}

/// Options as one of them is needed.
fn named(options: &[String]) -> String {
    options.iter().map(|option| format!("CONFIG_{option}")).collect::<Vec<_>>().join(" or ")
}

/// What is foretold.
fn will_show<W: std::fmt::Display>(words: &[W]) -> String {
    let quoted: Vec<String> = words.iter().map(|words| format!("\"{words}\"")).collect();
    format!("the console will show {}", quoted.join(" and "))
}
