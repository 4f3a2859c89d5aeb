//! The rules: what the kernel does from its command line to its first program.
//!
//! Source: init/main.c (`kernel_init`, `console_on_rootfs`), init/do_mounts.c (`prepare_namespace`), Linux 7.2.

use super::data::{Data, Level, Target};
use super::exec::{Exec, Files};
use super::initrd::{ENOENT, Tree};
use super::kernel::Answer;
use super::rules;
use crate::finding::{Finding, Rule, Severity};
use crate::format::cpio::{CHARACTER, FILE, FOLDER};
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
    /// Was an initial RAM disk given?
    pub(super) has_initrd: bool,
    /// A header names a root device.
    pub(super) has_root: bool,
    pub(super) findings: Vec<Finding>,
}

impl Boot<'_> {
    fn add(&mut self, rule: &'static Rule, severity: Severity, message: String, help: &str) {
        let finding = rule.finding(message).with_severity(severity);
        self.findings.push(if help.is_empty() { finding } else { finding.with_help(help.to_owned()) });
    }

    /// A finding as its rule has it.
    fn find(&mut self, rule: &'static Rule, message: String, help: &str) {
        self.add(rule, rule.severity, message, help);
    }

    fn option(&self, option: &str) -> Answer {
        self.files.kernel.option(option)
    }

    /// Goes the whole way; true when a program runs at its end.
    pub(super) fn check(&mut self, kind: Kind) -> bool {
        if !self.initrd() {
            self.files.tree = self.bare;
            self.has_initrd = false;
        }
        let way = self.init();
        self.console();
        self.root(way);
        for target in &self.data.target {
            self.target(target, kind, way);
        }
        way == Way::Initrd
    }

    /// Is what the boot loader gives unpacked? Says what is not.
    fn initrd(&mut self) -> bool {
        let tree = self.files.tree;
        if self.has_initrd && self.option("BLK_DEV_INITRD") == Answer::No {
            self.find(
                &rules::INITRD,
                "CONFIG_BLK_DEV_INITRD is not set, and an initial RAM disk is given".to_owned(),
                "",
            );
            return false;
        }
        if let Some((fault, is_told)) = &tree.fault {
            // A kernel with RAM disks of the old kind takes it for the image of one.
            let words = match self.option("BLK_DEV_RAM") {
                Answer::Yes => "rootfs image is not initramfs",
                _ => "Initramfs unpacking failed",
            };
            let seen =
                if *is_told { will_say(&[words.to_owned()]) } else { "the kernel stops there, silently".to_owned() };
            let message = format!("{}: {seen}", fault.message);
            self.find(&rules::INITRD_UNPACK, message, &fault.help);
        }
        for codec in &tree.codecs {
            let name = codec.name().split(' ').next().unwrap_or_default();
            let option = format!("RD_{}", name.to_ascii_uppercase());
            if self.option(&option) == Answer::No {
                let words = format!("compression method {name} not configured");
                let message = format!(
                    "the initial RAM disk is compressed by {name}, and CONFIG_{option} is not set: {}",
                    will_say(&[words])
                );
                self.find(
                    &rules::INITRD_CODEC,
                    message,
                    &format!("set CONFIG_{option}=y, or compress it in another way"),
                );
                return false;
            }
        }
        if let Some(first) = tree.lost.first() {
            let more = if tree.lost.len() > 1 { format!(" (and {} more)", tree.lost.len() - 1) } else { String::new() };
            self.find(
                &rules::INITRD_FOLDER,
                format!("{first}{more} is in a folder that the archive does not have: the kernel drops it"),
                "",
            );
        }
        true
    }

    /// The first program, as the kernel looks for it.
    fn init(&mut self) -> Way {
        let (files, kernel) = (self.files, self.files.kernel);
        let line = self.line;
        let given = |name: &str| line.and_then(|line| line.last(name)).map(str::to_owned);
        let path = given("rdinit").unwrap_or_else(|| "/init".to_owned());
        let mut words = Vec::new();
        let mut whys = Vec::new();
        match files.tree.find(path.as_bytes()) {
            Ok(_) => match self.tried(&path, &mut whys) {
                Ok(way) => return way,
                Err(error) => {
                    let has_error = kernel.has_text("Failed to execute %s (error %d)");
                    words.push(format!(
                        "Failed to execute {path}{}",
                        if has_error { format!(" (error -{error})") } else { String::new() }
                    ));
                }
            },
            Err(_) if files.tree.is_partial => return Way::NotKnown,
            // Nobody told what the boot loader gives.
            Err(_) if self.line.is_none() && self.findings.is_empty() && !self.has_initrd => return Way::NotKnown,
            Err(error) => {
                // Of files that the boot loader gives none may be meant to have it: microcode, modules.
                if self.has_initrd || self.line.is_some_and(|line| line.last("rdinit").is_some()) {
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
        // The files are those of the initial RAM disk still: /init is there, or without CONFIG_BLOCK nothing is mounted.
        let named =
            given("init").or_else(|| Some(kernel.text("DEFAULT_INIT").to_owned()).filter(|path| !path.is_empty()));
        let is_requested = given("init").is_some() && kernel.has_text("Requested init %s failed");
        let others: &[&str] = if is_requested { &[] } else { &["/sbin/init", "/etc/init", "/bin/init", "/bin/sh"] };
        let mut last = ENOENT;
        for path in named.as_deref().into_iter().chain(others.iter().copied()) {
            match self.tried(path, &mut whys) {
                Ok(way) => return way,
                Err(error) => last = error,
            }
        }
        words.push(match named.filter(|_| is_requested) {
            Some(path) => format!("Requested init {path} failed (error -{last})."),
            None if kernel.has_text("No working init found") => "No working init found".to_owned(),
            None => "No init found".to_owned(),
        });
        whys.retain(|why| !why.starts_with("there is no /"));
        if whys.is_empty() {
            whys.push("no first program is there".to_owned());
        }
        self.find(&rules::INIT, format!("{}: {}", whys.join("; "), will_say(&words)), "");
        Way::NotKnown
    }

    /// Tries a program: how it ends, or the number of the error when it does not start.
    fn tried(&mut self, path: &str, whys: &mut Vec<String>) -> Result<Way, i32> {
        match self.files.exec(path) {
            Exec::Runs => Ok(Way::Initrd),
            Exec::NotKnown(what) => {
                self.find(&rules::NOT_KNOWN, format!("whether {path} starts: {what} is not known"), "");
                Ok(Way::NotKnown)
            }
            Exec::Dies(why) => {
                self.find(
                    &rules::INIT_LIBRARY,
                    format!("{why}: {}", will_say(&["Attempted to kill init!".to_owned()])),
                    "",
                );
                Ok(Way::NotKnown)
            }
            Exec::Fails(error, why) => {
                whys.push(why);
                Err(error)
            }
        }
    }

    /// There is no program in an initial RAM disk.
    fn mounts_root(&mut self, whys: &[String]) -> Way {
        if let (Some(why), None) = (whys.first(), self.line) {
            let message = format!("{why}: the kernel mounts root= of its command line by itself, which was not told");
            self.add(&rules::INIT, Severity::Warning, message, "give the command line, or put /init there");
        }
        self.without_initrd()
    }

    fn without_initrd(&self) -> Way {
        if self.line.is_some() { Way::Root } else { Way::NotKnown }
    }

    fn console(&mut self) {
        let names: Vec<String> = self.line.iter().flat_map(|line| line.all("console")).map(str::to_owned).collect();
        let mut without = Vec::new();
        for name in &names {
            let device = name.split(',').next().unwrap_or(name).trim_end_matches(|c: char| c.is_ascii_digit());
            let Some(options) = self.data.console.get(device) else { continue };
            let answer = self.files.kernel.any(options);
            if matches!(answer, Answer::No | Answer::Module) {
                without.push((name.clone(), options.first().cloned().unwrap_or_default(), answer));
            }
        }
        // Where one of them has a driver, that is /dev/console.
        let none_left = without.len() == names.len();
        for (name, option, answer) in without {
            let how = if answer == Answer::Module { "only as a module" } else { "not" };
            let words = "Warning: unable to open an initial console.".to_owned();
            let seen = if none_left { will_say(&[words]) } else { "nothing will be seen there".to_owned() };
            self.find(
                &rules::CONSOLE,
                format!("the driver of console={name} is {how} built in: {seen}"),
                &format!("set CONFIG_{option}=y, or name another console"),
            );
        }
        let node = self.files.tree.find(b"dev/console");
        let found = match node {
            Ok(node) if node.kind() == CHARACTER && node.device == (5, 1) => return,
            // Another terminal.
            Ok(node) if node.kind() == CHARACTER => return,
            Ok(node) if node.kind() == FILE => {
                let message =
                    "/dev/console is a regular file: what the first program writes goes there, and is not seen";
                return self.find(&rules::CONSOLE_NODE, message.to_owned(), "");
            }
            Ok(node) if node.kind() == FOLDER => "/dev/console is a folder",
            Ok(_) => "/dev/console is no terminal",
            Err(_) if self.files.tree.is_partial => return,
            Err(_) => "/dev/console is not there",
        };
        let words = "unable to open an initial console".to_owned();
        self.find(&rules::CONSOLE_NODE, format!("{found}: {}", will_say(&[words])), "");
    }

    fn root(&mut self, way: Way) {
        let Some(line) = self.line else { return };
        let severity = if way == Way::Root { Severity::Error } else { Severity::Warning };
        let panic = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block";
        let nothing = will_say(&[format!("{panic}(0,0)")]);
        let Some(root) = line.last("root") else {
            if way == Way::Root && !self.has_root {
                self.find(&rules::ROOT, format!("neither root= nor a program in an initial RAM disk: {nothing}"), "");
            }
            return;
        };
        let device = root.strip_prefix("/dev/").unwrap_or(root);
        if way == Way::Root && ["UUID=", "LABEL="].iter().any(|by| root.starts_with(by)) {
            let message = format!(
                "root={root} is for an initial RAM disk to understand, and none that has /init is there: {nothing}"
            );
            self.find(&rules::ROOT, message, "name the device, or PARTUUID=, or give the initial RAM disk");
            return;
        }
        let hangs = line.has("rootwait");
        let mut wanting = false;
        let named = self.data.root.iter().filter(|(start, _)| device.starts_with(start.as_str()));
        if let Some((_, known)) = named.max_by_key(|(start, _)| start.len()) {
            for options in &known.needs {
                let seen = match hangs {
                    true => will_say(&[format!("Waiting for root device {root}...")]),
                    false => nothing.clone(),
                };
                wanting |= self.driver(&rules::ROOT, severity, options, &format!("root={root}"), way, &seen);
            }
            if known.late && way == Way::Root && !hangs && !line.has("rootdelay") && !wanting {
                self.find(
                    &rules::ROOT_WAIT,
                    format!("root={root} shows up late, and there is no rootwait: perhaps {nothing}"),
                    "",
                );
            }
        }
        let seen = will_say(&[format!("{panic}(")]);
        let kind = line.last("rootfstype").map(str::to_owned);
        let kinds: Vec<&str> = kind.iter().flat_map(|kinds| kinds.split(',')).collect();
        let known: Option<Vec<&Vec<String>>> = kinds.iter().map(|kind| self.data.filesystem.get(*kind)).collect();
        let options: Vec<String> = known.into_iter().flatten().flatten().cloned().collect();
        if let (Some(kind), false, false) = (&kind, options.is_empty(), wanting) {
            self.driver(&rules::ROOT_FILESYSTEM, severity, &options, &format!("rootfstype={kind}"), way, &seen);
        }
        if kind.is_none() && way == Way::Root && !wanting {
            let all: Vec<String> = self.data.filesystem.values().flatten().cloned().collect();
            let kernel = self.files.kernel;
            if all.iter().all(|option| matches!(kernel.option(option), Answer::No | Answer::Module)) {
                self.find(
                    &rules::ROOT_FILESYSTEM,
                    format!("no file system of a disk is built in: {seen}"),
                    "set CONFIG_EXT4_FS=y, or that of the root device",
                );
            }
        }
        if way == Way::Root && self.option("DEVTMPFS") == Answer::No {
            self.find(&rules::DEVTMPFS, "CONFIG_DEVTMPFS is not set".to_owned(), "");
        }
    }

    /// Is one of these there, where it is needed? True when it is not.
    fn driver(
        &mut self,
        rule: &'static Rule,
        severity: Severity,
        options: &[String],
        what: &str,
        way: Way,
        seen: &str,
    ) -> bool {
        let (kernel, tree) = (self.files.kernel, self.files.tree);
        let answer = kernel.any(options);
        let is_carried = options.iter().any(|option| tree.has_module(&self.data.module(option)));
        let state = match answer {
            Answer::Yes | Answer::NotKnown => return false,
            // Who loads it is the first program of the initial RAM disk.
            _ if is_carried && way != Way::Root => return false,
            Answer::Module if way == Way::Root => {
                "only as a module, and the kernel mounts the root file system by itself"
            }
            Answer::Module if self.has_initrd => "only as a module, which the initial RAM disk does not have",
            // Nobody said what loads it.
            Answer::Module => return false,
            Answer::No => "not at all",
        };
        let names: Vec<String> = options.iter().map(|option| format!("CONFIG_{option}")).collect();
        let first = names.first().cloned().unwrap_or_default();
        let seen = if way == Way::Root { format!(": {seen}") } else { String::new() };
        let help = match answer {
            Answer::Module => format!(
                "set {first}=y, or put {}.ko into an initial RAM disk that loads it",
                self.data.module(first.trim_start_matches("CONFIG_"))
            ),
            _ => format!("set {first}=y"),
        };
        self.add(
            rule,
            severity,
            format!("{what} needs {}, which the kernel has {state}{seen}", names.join(" or ")),
            &help,
        );
        true
    }

    fn target(&mut self, target: &Target, kind: Kind, way: Way) {
        let kernel = self.files.kernel;
        let name = &target.name;
        if let Some(arch) = kernel
            .arch
            .map(|arch| arch.to_string())
            .filter(|arch| !target.arch.is_empty() && !target.arch.contains(arch))
        {
            let message = format!("the kernel is for {arch}, {name} is {}", target.arch.join(" or "));
            self.find(&rules::TARGET_CPU, message, "");
        }
        if !target.formats.is_empty() && !target.formats.iter().any(|format| format == kind.id()) {
            let message = format!("{name} takes no file of this kind ({})", kind.id());
            self.find(&rules::TARGET_FORMAT, message, &format!("give it {}", target.wants));
        }
        for need in &target.need {
            let what = format!("{name} ({})", need.what);
            let options: Vec<String> = need.any.iter().map(|option| format!("CONFIG_{option}")).collect();
            let message = |how: &str| format!("{what} needs {}, which is {how}", options.join(" or "));
            let help = format!("set {}=y", options.first().map_or("", String::as_str));
            match (need.level, kernel.any(&need.any)) {
                (Level::Root, _) => {
                    let severity = if way == Way::Root { Severity::Error } else { Severity::Warning };
                    let words =
                        "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)".to_owned();
                    self.driver(&rules::TARGET, severity, &need.any, &what, way, &will_say(&[words]));
                }
                (Level::Must, Answer::No) => self.add(&rules::TARGET, Severity::Error, message("not set"), &help),
                (Level::Should, Answer::No) => self.add(&rules::TARGET, Severity::Warning, message("not set"), &help),
                (Level::Console, Answer::No) => {
                    self.add(&rules::TARGET, Severity::Warning, message("not set: nothing is seen"), &help)
                }
                _ => {}
            }
        }
    }

    /// What a log of this or an earlier boot shows.
    pub(super) fn log(&mut self, log: &str) {
        let mut seen: Vec<&str> = Vec::new();
        for (number, text) in (1..).zip(log.lines()) {
            let Some(known) = self.data.log.iter().find(|message| message.is_in(text)) else { continue };
            if seen.contains(&known.cause.as_str()) {
                continue;
            }
            seen.push(&known.cause);
            let message = format!("line {number} of the log, {:?}: {}", text.trim(), known.cause);
            self.add(&rules::LOG, known.severity(), message, &known.help);
        }
        if seen.is_empty() {
            self.add(&rules::LOG, Severity::Note, "no message of the log is known to kimage".to_owned(), "");
        }
    }
}

/// What is foretold.
fn will_say(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|words| format!("\"{words}\"")).collect();
    format!("the console will show {}", quoted.join(" and "))
}
