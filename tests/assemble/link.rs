//! kbuild's kept link command: read without a shell, run around a piggy.o of our own, and the build folder's own word on
//! which kernel belongs in it. On every tree of the corpus.

use crate::support::{self, Tree, assert_same, corpus, run, run_ok, tempdir, tool};
use kimage::arch::Arch;
use kimage::codec::Codec;
use kimage::elf::Elf;
use kimage::internals::{LinkFacts, set_defsym, tree};
use kimage::kbuild::LinkCommand;
use kimage::kbuild::{Piggy, Target};
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use std::process::Command;

fn folder(tree: &Tree) -> &'static str {
    if tree.is_arm() { "arch/arm/boot/compressed" } else { "arch/x86/boot/compressed" }
}

fn kept(tree: &Tree) -> LinkCommand {
    let text = tree.read(&format!("{}/.vmlinux.cmd", folder(tree)));
    LinkCommand::parse(&text, None).unwrap_or_else(|error| panic!("{}: {error}", tree.name))
}

fn missing(link: &LinkCommand, root: &Path) -> Vec<String> {
    tree::missing_files(link, |path| fs::read(root.join(path)).ok(), |path| root.join(path).is_file()).unwrap()
}

/// The linker, if it is installed.
fn linker(link: &LinkCommand) -> Option<std::path::PathBuf> {
    tool(
        link.linker(),
        if LinkFacts::of(link).arch == Some(Arch::Arm) { "binutils-arm-linux-gnueabihf" } else { "binutils" },
    )
}

/// What the command defines the size of an ARM kernel's .bss as.
fn bss_size(link: &LinkCommand) -> Option<u64> {
    let size = link.words().iter().find_map(|word| Some(word.split_once("_kernel_bss_size=")?.1.to_owned()));
    size.map(|size| size.parse().unwrap())
}

#[test]
fn every_kept_command_is_understood() {
    for tree in corpus() {
        let link = kept(tree);
        let vmlinux = tree.read("vmlinux");
        let elf = Elf::parse(&vmlinux).unwrap();
        let facts = LinkFacts::of(&link);
        assert_eq!(facts.arch, elf.arch(), "{}", tree.name);
        assert_eq!(facts.output, format!("{}/vmlinux", folder(tree)));
        assert_eq!(facts.reads[0], format!("{}/vmlinux.lds", folder(tree)));
        assert!(!facts.reads.contains(&&*format!("{}/piggy.o", folder(tree))));
        assert_eq!(missing(&link, &tree.dir), [""; 0], "{}", tree.name);
        let text = String::from_utf8(tree.read(&format!("{}/.vmlinux.cmd", folder(tree)))).unwrap();
        assert_eq!(link.words(), text.split_whitespace().skip(2).collect::<Vec<_>>());
        assert_eq!(tree::check_cpu(&elf, &link), None, "{}", tree.name);
        if tree.is_arm() {
            let size = tree::kernel_bss_size(&elf).unwrap();
            assert_eq!(bss_size(&link), Some(size), "{}", tree.name);
        }
    }
}

/// A copy of just the files that the command reads, our piggy.o, and the output somewhere else: the same decompressor.
#[test]
fn a_link_around_our_object_gives_the_same_bytes() {
    for tree in corpus() {
        let mut link = kept(tree);
        let Some(ld) = linker(&link) else { continue };
        let version = support::stdout(&run_ok(Command::new(&ld).arg("-V")));
        assert_eq!(tree::check_linker(&version, &link), None, "{}", tree.name);

        let dir = tempdir();
        let copy = |path: &str| {
            let to = dir.path().join("tree").join(path);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(tree.path(path), to).unwrap();
        };
        let facts = LinkFacts::of(&link);
        facts.reads.iter().copied().for_each(copy);
        // What is missing now are the members of the thin archives.
        missing(&link, &dir.path().join("tree")).iter().for_each(|path| copy(path));

        let name = tree::incbin(&tree.read(&format!("{}/piggy.S", folder(tree)))).unwrap();
        let data = tree.read(&name);
        let endian = Elf::parse(&tree.read("vmlinux")).unwrap().endian();
        let target = Target::new(facts.arch.unwrap(), endian).unwrap();
        let object = Piggy::new(&data).unwrap().object(&target).unwrap();
        let piggy = dir.path().join("our own piggy.o");
        object.emit(fs::File::create(&piggy).unwrap()).unwrap();
        let output = dir.path().join("vmlinux");
        let bss_size = bss_size(&link);
        link.redirect(piggy.to_str().unwrap(), output.to_str().unwrap());
        if let Some(size) = bss_size {
            assert!(set_defsym(&mut link, "_kernel_bss_size", size));
        }
        let words = link.words();
        run_ok(Command::new(&ld).args(&words[1..]).current_dir(dir.path().join("tree")));
        let want = tree.read(&format!("{}/vmlinux", folder(tree)));
        assert_same(&tree.name, &fs::read(output).unwrap(), &want);
        assert!(!dir.path().join("tree").join(folder(tree)).join("vmlinux").exists());
    }
}

#[test]
fn a_missing_object_and_a_missing_member_are_named() {
    let Some(tree) = support::tree("x86_64") else { return };
    let link = kept(tree);
    let gone = ["arch/x86/boot/compressed/misc.o", "drivers/firmware/efi/libstub/tpm.stub.o"];
    let missing = tree::missing_files(
        &link,
        |path| fs::read(tree.path(path)).ok(),
        |path| tree.path(path).is_file() && !gone.contains(&path),
    );
    assert_eq!(missing.unwrap(), gone);
}

#[test]
fn the_tree_tells_its_codec() {
    for tree in corpus() {
        let piggy_s = tree.read(&format!("{}/piggy.S", folder(tree)));
        let config = tree.read(".config");
        let codec = tree::codec(Some(&piggy_s), Some(&config)).unwrap();
        let data = tree.read(&tree::incbin(&piggy_s).unwrap());
        assert_eq!(codec, Codec::detect(&data), "{}", tree.name);
        assert_eq!(tree::codec(None, Some(&config)).unwrap(), codec, "{}", tree.name);
    }
}

#[test]
fn a_kernel_of_another_build_is_noticed() {
    let x86: Vec<&Tree> = support::x86_trees();
    for (index, tree) in x86.iter().enumerate() {
        let vmlinux = tree.read("vmlinux");
        let elf = Elf::parse(&vmlinux).unwrap();
        let header = tree.read("arch/x86/boot/voffset.h");
        assert_eq!(tree::check_voffsets(&header, &elf).unwrap(), [], "{}", tree.name);
        let other = x86[(index + 1) % x86.len()];
        let findings = tree::check_voffsets(&other.read("arch/x86/boot/voffset.h"), &elf).unwrap();
        assert!(!findings.is_empty(), "{} in {}", tree.name, other.name);
    }
    if let (Some(arm), Some(x86)) = (support::tree("arm"), x86.first()) {
        let vmlinux = arm.read("vmlinux");
        let elf = Elf::parse(&vmlinux).unwrap();
        let finding = tree::check_cpu(&elf, &kept(x86)).unwrap();
        assert!(finding.message.starts_with("this vmlinux is for ARM, the build folder links for "));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Where we take a command, `sh` makes the same words of it.
    #[test]
    fn words_are_those_of_sh(tail in r#"[ab=/.~!#^%@,:+\t '"\\$;&-]{0,24}"#) {
        let command = format!("ld -T s piggy.o -o v {tail}");
        // Make's own escapes are not the shell's business.
        let kept = format!("cmd_v := {}\n", command.replace('$', "$$").replace('#', "$(pound)"));
        if tail.ends_with('\\') {
            return Ok(());
        }
        let Ok(link) = LinkCommand::parse(kept.as_bytes(), None) else { return Ok(()) }; // no gap: refused
        // The commands behind it are not read, so they may be anything; for sh they must make sense.
        let count = |text: &str| text.chars().filter(|char| ";&".contains(*char)).count();
        if link.words().iter().map(|word| count(word)).sum::<usize>() < count(&tail) {
            return Ok(());
        }
        // `printf` in the linker's place.
        let script = format!("ld() {{ printf '%s\\0' ld \"$@\"; exit 0; }}; {command}");
        let output = run(Command::new("sh").arg("-c").arg(&script).current_dir("/"));
        let got: Vec<String> = link.words().iter().map(|word| format!("{word}\0")).collect();
        prop_assert_eq!(support::stdout(&output), got.concat(), "{}", script);
    }

    /// No text at all makes it panic.
    #[test]
    fn any_text_is_survived(text in "(cmd_v := ld -T s piggy.o -o v)?[ -~\n\\\\]{0,40}", bytes: Vec<u8>) {
        let _ = LinkCommand::parse(text.as_bytes(), Some("ld"));
        let _ = LinkCommand::parse(&bytes, None);
        let _ = tree::voffsets(&bytes);
        let _ = tree::codec(Some(&bytes), Some(&bytes));
        let _ = tree::thin_members(&[b"!<thin>\n", &bytes[..]].concat());
        let _ = tree::check_linker(&text, &LinkCommand::parse(b"cmd_v := ld -m a -T s piggy.o -o v", None).unwrap());
    }
}
