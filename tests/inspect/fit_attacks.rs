//! The table of attacks on signed FITs: what is changed, what `kimage verify --control-dtb` says of it, and what fit_check_sign of
//! U-Boot 2023.01 and of the newest release says of the same bytes.
//!
//! The cases are U-Boot's own (test_vboot.py, vboot_forge.py, vboot_evil.py, test_vboot_ext_data_bounds) and others, each made here.

use crate::fit_signed::{EVIL, Folder, SIGNATURE, SOURCE, renamed, sha256, span, spliced, value, with, word};
use crate::support::{kimage, put, read, run, run_ok, stdout, tool, uboot_tools};
use std::process::Command;

/// What is said of a case.
#[derive(Clone, Copy)]
enum Ours {
    /// By this rule.
    Refused(&'static str),
    /// With these words.
    Taken(&'static str),
}
use Ours::{Refused, Taken};

/// What fit_check_sign says of it.
#[derive(Clone, Copy)]
enum Theirs {
    Same,
    /// Takes what kimage refuses, because:
    Takes(&'static str),
    /// Takes it before this release (year, month), because:
    TookBefore((u32, u32), &'static str),
    /// Takes it from this release on, because:
    TakesFrom((u32, u32), &'static str),
}
use Theirs::{Same, Takes, TakesFrom, TookBefore};

struct Case {
    name: String,
    fit: Vec<u8>,
    control: Vec<u8>,
    ours: Ours,
    theirs: Theirs,
}

/// The list of what is covered is made of the configuration, and not read from the signature.
const REBUILT: (u32, u32) = (2026, 4);
/// A configuration that names more than its signature covers.
const BELIEVED: &str = "before 2026.04 it believes hashed-nodes";
const NOT_READ: &str = "from 2026.04 on it does not read hashed-nodes";

/// The bytes of a property's token.
fn token(name_at: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = [3, value.len() as u32, name_at as u32].map(u32::to_be_bytes).concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The same without a property.
fn unset(fit: &[u8], path: &str, name: &str) -> Vec<u8> {
    let at = value(fit, path, name);
    spliced(fit, at.start - 12..at.end.next_multiple_of(4), &[])
}

/// The same with a property more, its first, or with another value of one, of any length.
fn set(fit: &[u8], path: &str, name: &str, new: &[u8]) -> Vec<u8> {
    let node = span(fit, path).start;
    let name_end = fit[node + 4..].iter().position(|byte| *byte == 0).unwrap();
    let first = node + 4 + (name_end + 1).next_multiple_of(4);
    // Is it there? Of its own properties alone, which stand before its nodes.
    let mut at = first;
    while word(fit, at) == 3 {
        let (len, name_at) = (word(fit, at + 4), word(fit, 12) + word(fit, at + 8));
        let end = at + 12 + len.next_multiple_of(4);
        if fit[name_at..].starts_with(&[name.as_bytes(), &[0]].concat()) {
            return spliced(fit, at..end, &token(word(fit, at + 8), new));
        }
        at = end;
    }
    let (names, len) = (word(fit, 12), word(fit, 32));
    let wanted = [name.as_bytes(), &[0]].concat();
    if let Some(at) = fit[names..names + len].windows(wanted.len()).position(|part| part == wanted) {
        return spliced(fit, first..first, &token(at, new));
    }
    // A new name behind the others; what stands behind the tree stays where it is aligned to.
    let mut added = wanted;
    added.resize(added.len().next_multiple_of(4), 0);
    let mut fit = fit.to_vec();
    fit.splice(names + len..names + len, added.iter().copied());
    for field in [4, 32] {
        let changed = word(&fit, field) + added.len();
        fit[field..field + 4].copy_from_slice(&(changed as u32).to_be_bytes());
    }
    spliced(&fit, first..first, &token(len, new))
}

fn flipped(fit: &[u8], path: &str, name: &str) -> Vec<u8> {
    let mut fit = fit.to_vec();
    let at = value(&fit, path, name).start;
    fit[at] ^= 1;
    fit
}

/// Nodes in the list of what a signature says to cover.
fn listed(fit: &[u8], is: impl Fn(&str) -> bool) -> Vec<u8> {
    let list = String::from_utf8(fit[value(fit, SIGNATURE, "hashed-nodes")].to_vec()).unwrap();
    let kept: String = list.split_terminator('\0').filter(|path| is(path)).map(|path| format!("{path}\0")).collect();
    assert_ne!(kept, list);
    set(fit, SIGNATURE, "hashed-nodes", kept.as_bytes())
}

/// The crc32 of zlib.
fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |sum, byte| step(sum, *byte))
}

fn step(sum: u32, byte: u8) -> u32 {
    (sum >> 8) ^ entry((sum as u8) ^ byte)
}

fn entry(index: u8) -> u32 {
    (0..8).fold(u32::from(index), |x, _| (x >> 1) ^ (if x & 1 == 1 { 0xedb8_8320 } else { 0 }))
}

/// The data with four bytes more, which bring its crc32 to `wanted`.
fn of_crc32(data: &[u8], wanted: u32) -> Vec<u8> {
    let mut left = !wanted;
    let mut indices = Vec::new();
    for _ in 0..4 {
        let index = (0..=255).find(|index| entry(*index) >> 24 == left >> 24).unwrap();
        indices.push(index);
        left = (left ^ entry(index)) << 8;
    }
    let mut data = data.to_vec();
    let mut sum = !crc32(&data);
    for index in indices.iter().rev() {
        let byte = (sum as u8) ^ index;
        data.push(byte);
        sum = step(sum, byte);
    }
    assert_eq!(crc32(&data), wanted);
    data
}

struct Table {
    cases: Vec<Case>,
    /// Of the cases that are added.
    control: Vec<u8>,
}

impl Table {
    fn add(&mut self, name: &str, fit: Vec<u8>, ours: Ours, theirs: Theirs) {
        let control = self.control.clone();
        self.cases.push(Case { name: name.to_owned(), fit, control, ours, theirs });
    }

    /// The rows of one configuration that is signed, in the order of the facts' table.
    fn configuration(&mut self, good: &[u8], evil_hash: &[u8]) {
        let unsigned = Refused("fit.unsigned");
        let with_evil = |fit: &[u8], image: &str| {
            let fit = with(fit, &format!("/images/{image}"), "data", &EVIL);
            with(&fit, &format!("/images/{image}/hash-1"), "value", evil_hash)
        };
        self.add("good", good.to_vec(), Taken("covers the configuration with kernel, fdt-1, rd"), Same);
        self.add("signature bit", flipped(good, SIGNATURE, "value"), unsigned, Same);
        self.add("data", with(good, "/images/kernel", "data", &EVIL), Refused("fit.hash"), Same);
        self.add("data and hash", with_evil(good, "kernel"), unsigned, Same);
        self.add("load address", with(good, "/images/kernel", "load", &[0x40, 0, 0, 0]), unsigned, Same);
        self.add("property changed in an image", set(good, "/images/kernel", "compression", b"gzip\0"), unsigned, Same);
        self.add("property added to an image", set(good, "/images/kernel", "phase", b"spl\0"), unsigned, Same);
        self.add("description of the root", set(good, "/", "description", b"another\0"), unsigned, Same);
        let more = set(good, "/configurations/conf-1", "firmware", b"rd\0");
        self.add("property added to the configuration", more, unsigned, Same);

        let image = span(good, "/images/rd");
        let spare = spliced(good, image.end..image.end, &renamed(&good[image.clone()], "rd", "xd"));
        self.add("image added that nobody names", spare, Taken("[fit.signed]"), Same);
        let other = set(good, "/configurations", "x", b"y\0");
        self.add("property of /configurations", other, Taken("[fit.signed]"), Same);

        // A second kernel and a configuration of it with the signature of the first (vboot_forge.py).
        let (kernel, conf) = (span(good, "/images/kernel"), span(good, "/configurations/conf-1"));
        let forged = spliced(good, conf.end..conf.end, &renamed(&good[conf.clone()], "conf-1", "conf-2"));
        let forged = spliced(&forged, kernel.end..kernel.end, &renamed(&good[kernel.clone()], "kernel", "kernul"));
        let forged = with(&forged, "/configurations/conf-2", "kernel", b"kernul\0");
        let forged = with(&with_evil(&forged, "kernul"), "/configurations", "default", b"conf-2\0");
        self.add("second kernel and configuration, signature copied (vboot_forge)", forged, unsigned, Same);
        let moved = spliced(good, conf.clone(), &renamed(&good[conf.clone()], "conf-1", "conf-9"));
        let moved = with(&moved, "/configurations", "default", b"conf-9\0");
        self.add("configuration moved", moved, unsigned, Same);
        let swapped = set(good, "/configurations/conf-1", "fdt", b"rd\0");
        let swapped = set(&swapped, "/configurations/conf-1", "ramdisk", b"fdt-1\0");
        self.add("images swapped in the configuration", swapped, unsigned, Same);

        // vboot_evil.py.
        let mut copy = good[kernel.clone()].to_vec();
        copy.splice(4..12, *b"kernel@evil\0");
        let evil = spliced(good, kernel.start..kernel.start, &copy);
        self.add("kernel@evil in front of kernel (vboot_evil)", evil, Refused("fit.unit_address"), Same);
        let root = span(good, "/");
        let fake = spliced(good, root.start..root.start, &renamed(&good[root.clone()], "", "f@k"));
        self.add("fake root in front (vboot_evil)", fake, Refused(""), Same);
        let second = spliced(good, root.end..root.end, &good[root.clone()]);
        self.add("second root behind (vboot_evil)", second, Refused(""), Same);
        // With empty nodes where U-Boot ends what it hashes.
        let images = &good[span(good, "/images")];
        let empty = [&1_u32.to_be_bytes()[..], b"EMPTYNO\0", &2_u32.to_be_bytes()].concat();
        let (inside, end) = images.split_at(images.len() - 4);
        let at = span(good, "/images").end - 4;
        let clone = spliced(good, at..at, &[inside, &empty, end, &empty].concat());
        let hashed = String::from_utf8(clone[value(&clone, SIGNATURE, "hashed-nodes")].to_vec()).unwrap();
        let hashed = hashed.replace("/images/", "/images/images/");
        let clone = with_evil(&set(&clone, SIGNATURE, "hashed-nodes", hashed.as_bytes()), "kernel");
        let theirs = TookBefore(REBUILT, BELIEVED);
        self.add(
            "/images copied into itself, hashed-nodes led there (vboot_evil)",
            clone,
            Refused("fit.sign_images"),
            theirs,
        );
        let twice = spliced(good, kernel.end..kernel.end, &good[kernel]);
        self.add("image twice", twice, Refused("fit.duplicate_name"), Same);

        let list = Refused("fit.hashed_nodes");
        let theirs = TakesFrom(REBUILT, NOT_READ);
        let short = listed(good, |path| ["/", "/configurations/conf-1"].contains(&path));
        self.add("hashed-nodes shortened", short, list, theirs);
        let fewer = listed(good, |path| path != "/images/kernel/hash-1");
        self.add("hashed-nodes without the kernel's hash", fewer, list, theirs);
        let fewer = listed(good, |path| path != "/configurations/conf-1");
        self.add("hashed-nodes without the configuration", fewer, list, theirs);
        self.add("hashed-nodes removed", unset(good, SIGNATURE, "hashed-nodes"), list, theirs);

        let names = word(good, 32) as u32;
        let pair = |start: u32, len: u32| [start.to_be_bytes(), len.to_be_bytes()].concat();
        let len = word(good, value(good, SIGNATURE, "hashed-strings").start + 4) as u32;
        let strings = |new: &[u8]| set(good, SIGNATURE, "hashed-strings", new);
        self.add("hashed-strings of 4 bytes", strings(&[0; 4]), unsigned, Same);
        self.add("hashed-strings too long", strings(&pair(0, names + 1)), unsigned, Same);
        self.add("hashed-strings of the whole block", strings(&pair(0, names)), unsigned, Same);
        self.add("hashed-strings removed", unset(good, SIGNATURE, "hashed-strings"), unsigned, Same);
        self.add(
            "hashed-strings with an offset",
            strings(&pair(4, len)),
            unsigned,
            Takes("it does not read the offset"),
        );
        let mut changed = good.to_vec();
        let at = word(good, 12);
        changed[at..at + 1].copy_from_slice(b"X");
        self.add("strings block changed", changed, Refused(""), Same);

        self.add("algo changed", with(good, SIGNATURE, "algo", b"sha512,rsa2048\0"), unsigned, Same);
        self.add("padding = pss added", set(good, SIGNATURE, "padding", b"pss\0"), unsigned, Same);
        self.add("signature node removed", spliced(good, span(good, SIGNATURE), &[]), unsigned, Same);
        let mut large = good.to_vec();
        large[4..8].copy_from_slice(&0x1000_0001_u32.to_be_bytes());
        self.add("totalsize beyond the maximum", large, Refused("totalsize"), Same);
        self.add(
            "key-name-hint changed",
            with(good, SIGNATURE, "key-name-hint", b"dEv\0"),
            Taken("[fit.signed]"),
            Same,
        );
    }

    /// Data behind the tree.
    fn external(&mut self, good: &[u8]) {
        self.add("external data, good", good.to_vec(), Taken("[fit.signed]"), Same);
        // What does not fit into the file is no data; negative numbers are large ones.
        for name in ["data-offset", "data-position", "data-size"] {
            for number in [0xffff_ffff_u32, 0x8000_0000, 0x7fff_ffff, 0x1000_0000] {
                let bad = set(good, "/images/kernel", name, &number.to_be_bytes());
                let bad = if name == "data-position" { unset(&bad, "/images/kernel", "data-offset") } else { bad };
                self.add(&format!("external {name} {number:#x}"), bad, Refused("fit.data"), Same);
            }
        }
        let mut changed = good.to_vec();
        let at = word(good, 4).next_multiple_of(4);
        changed[at] ^= 1;
        self.add("external data changed", changed, Refused("fit.hash"), Same);
        let mut padding = good.to_vec();
        *padding.last_mut().unwrap() ^= 1;
        self.add("padding behind external data changed", padding, Taken("[fit.signed]"), Same);
    }
}

fn table(folder: &Folder) -> Option<Vec<Case>> {
    let openssl = tool("openssl", "openssl")?;
    run_ok(Command::new(openssl).args(["genrsa", "-traditional", "-out"]).arg(folder.path("prod.key")).arg("2048"));
    // Three bytes of a word are left over behind the last data.
    put(&folder.path(""), "ramdisk", b"ramdisk..");
    let evil_hash = sha256(&EVIL);
    let required = ["--required", "conf"];
    let control = |folder: &Folder| read(&folder.path("ctl.dtb"));
    let mut table = Table { cases: Vec::new(), control: Vec::new() };

    let good = folder.signed(SOURCE, &required);
    table.control = control(folder);
    table.configuration(&good, &evil_hash);
    let external = folder.signed(SOURCE, &["--required", "conf", "-E"]);
    table.control = control(folder);
    table.external(&external);

    // What the signature leaves out, and what stands for the data.
    let some = folder.signed(&SOURCE.replace(", \"ramdisk\"; }", "; }"), &required);
    table.control = control(folder);
    let theirs = TookBefore(REBUILT, BELIEVED);
    table.add("ramdisk not in sign-images", some.clone(), Refused("fit.sign_images"), theirs);
    let evil = with(&some, "/images/rd", "data", b"EVILDISK.");
    let evil = with(&evil, "/images/rd/hash-1", "value", &sha256(b"EVILDISK."));
    table.add("ramdisk not in sign-images, replaced", evil, Refused("fit.sign_images"), theirs);
    let weak = folder.signed(&SOURCE.replacen("sha256", "crc32", 1), &required);
    table.control = control(folder);
    let theirs = Takes("a crc32 is a hash to it as good as any");
    table.add("crc32 the only hash of the kernel", weak.clone(), Refused("fit.weak_hash"), theirs);
    let forged = of_crc32(&EVIL[..EVIL.len() - 4], crc32(&[0; EVIL.len()]));
    let forged = with(&weak, "/images/kernel", "data", &forged);
    table.add("crc32 the only hash, kernel of the same crc32", forged, Refused("fit.weak_hash"), theirs);

    // Keys.
    let free = folder.signed(SOURCE, &[]);
    table.control = control(folder);
    let broken = flipped(&free, SIGNATURE, "value");
    table.add("key not required, signature broken", broken, Refused("fit.not_required"), Takes("nothing is required"));
    let of_prod = SOURCE.replace("\"dev\"", "\"prod\"");
    let keys = ["--required", "conf", "--key", "prod.key"];
    let prod = folder.signed_with(&of_prod, &keys);
    let prod_alone = control(folder);
    table.control = prod_alone.clone();
    table.add("other key required", good.clone(), Refused("fit.unsigned"), Same);
    table.add("signed with the other key", prod, Taken("[fit.signed]"), Same);
    let two = "}; signature-2 { algo = \"sha256,rsa2048\"; key-name-hint = \"prod\"; \
               sign-images = \"kernel\", \"fdt\", \"ramdisk\"; }; }; };";
    let both = SOURCE.replace("}; }; };", two);
    let both = folder.signed_with(&both, &["--required", "conf", "--key", "dev=dev.key", "--key", "prod=prod.key"]);
    let of_both = control(folder);
    table.control = of_both.clone();
    table.add("two keys required, two signatures", both.clone(), Taken("signed with key-prod"), Same);
    table.add("two keys required, one signature", good.clone(), Refused("fit.unsigned"), Same);
    let half = flipped(&both, "/configurations/conf-1/signature-2", "value");
    table.add("two keys required, one of two signatures broken", half.clone(), Refused("fit.unsigned"), Same);
    let copied = both[value(&both, SIGNATURE, "value")].to_vec();
    let copied = with(&both, "/configurations/conf-1/signature-2", "value", &copied);
    table.add("two keys required, one signature twice", copied, Refused("fit.unsigned"), Same);
    table.control = set(&of_both, "/signature", "required-mode", b"any\0");
    table.add("two keys, any required, one signature", good.clone(), Taken("[fit.signed]"), Same);
    table.add("two keys, any required, one of two broken", half, Taken("[fit.signed]"), Same);
    let none = flipped(&good, SIGNATURE, "value");
    table.add("two keys, any required, signature broken", none, Refused("fit.unsigned"), Same);
    table.control = set(&of_both, "/signature", "required-mode", b"all\0");
    table.add("two keys, all required, one signature", good, Refused("fit.unsigned"), Same);

    // The signature of one configuration on another.
    let conf = &SOURCE[SOURCE.find("conf-1 {").unwrap()..SOURCE.find("}; }; };").unwrap() + 2];
    let second = format!(
        "{conf} }}; {} }}; }};",
        conf.replace("conf-1", "conf-2").replace("fdt = \"fdt-1\";", "fdt = \"fdt-1\"; firmware = \"rd\";")
    );
    let swapped = folder.signed(&SOURCE.replace(&format!("{conf} }}; }};"), &second), &required);
    table.control = control(folder);
    table.add("two configurations, good", swapped.clone(), Taken("configuration conf-2: signed"), Same);
    let other = swapped[value(&swapped, "/configurations/conf-2/signature-1", "value")].to_vec();
    let swapped = with(&swapped, SIGNATURE, "value", &other);
    table.add("signature of one configuration on another", swapped, Refused("fit.unsigned"), Same);

    // Signatures of images are for their data alone.
    let signature = "signature-1 { algo = \"sha256,rsa2048\"; key-name-hint = \"dev\"; };";
    let own = &SOURCE[SOURCE.rfind("signature-1").unwrap()..SOURCE.rfind("}; }; }; };").unwrap() + 2];
    let source = SOURCE.replace(own, "").replace("hash-1 {", &format!("{signature} hash-1 {{"));
    let images = folder.signed(&source, &["--required", "image"]);
    table.control = control(folder);
    let covered = "not their addresses and types";
    table.add("image signatures, good", images.clone(), Taken(covered), Same);
    let moved = with(&images, "/images/kernel", "load", &[0x40, 0, 0, 0]);
    table.add("image signatures, load address changed", moved, Taken(covered), Same);
    let bit = flipped(&images, "/images/kernel/signature-1", "value");
    table.add("image signatures, signature bit", bit, Refused("fit.unsigned"), Same);
    let evil = with(&images, "/images/kernel", "data", &EVIL);
    let evil = with(&evil, "/images/kernel/hash-1", "value", &evil_hash);
    table.add("image signatures, data and hash", evil, Refused("fit.unsigned"), Same);
    Some(table.cases)
}

#[test]
fn each_attack_is_refused_by_its_name() {
    let folder = Folder::new();
    let Some(cases) = table(&folder) else { return }; // no gap: tool() says so
    let mut wrong = Vec::new();
    for Case { name, fit, control, ours, .. } in &cases {
        put(&folder.path(""), "ctl.dtb", control);
        let (good, said) = folder.verify(fit, &["--control-dtb", "ctl.dtb"]);
        let is_as_wanted = match ours {
            Refused(rule) => !good && said.contains(rule),
            Taken(words) => good && said.contains(words) && !said.contains("not checked"),
        };
        if !is_as_wanted {
            wrong.push(format!("{name}: {good}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() >= 70, "{}", cases.len());
}

#[test]
fn beside_fit_check_sign() {
    let folder = Folder::new();
    let Some(cases) = table(&folder) else { return }; // no gap: tool() says so
    for (tool, release) in uboot_tools("fit_check_sign") {
        let mut wrong = Vec::new();
        for Case { name, fit, control, ours, theirs } in &cases {
            put(&folder.path(""), "a.itb", fit);
            put(&folder.path(""), "a.dtb", control);
            let mut command = Command::new(&tool);
            command.args(["-f", "a.itb", "-k", "a.dtb"]).current_dir(folder.path(""));
            let output = run(&mut command);
            // What crashes takes nothing.
            let (takes, why) = match theirs {
                Same => (matches!(ours, Taken(_)), "as kimage"),
                Takes(why) => (true, *why),
                TookBefore(changed, why) => (release < *changed, *why),
                TakesFrom(changed, why) => (release >= *changed, *why),
            };
            if output.status.success() != takes {
                wrong.push(format!("{name}: wanted {takes} ({why}), {}: {}", output.status, stdout(&output)));
            }
            // Called by its name, kimage has the same status.
            if matches!(theirs, Same) && output.status.code().is_some() {
                let mut ours = kimage();
                ours.current_dir(folder.path("")).args(["as", "fit_check_sign", "-f", "a.itb", "-k", "a.dtb"]);
                let ours = run(&mut ours);
                if ours.status.code() != output.status.code() {
                    wrong.push(format!("{name}: {} and {}", ours.status, output.status));
                }
            }
        }
        assert!(wrong.is_empty(), "{} {release:?}: {}:\n{}", tool.display(), wrong.len(), wrong.join("\n"));
    }
}
