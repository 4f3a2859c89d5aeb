//! Generator nodes as U-Boot's binman has them: what they make is what a source with every node written by hand makes, byte for byte.
//! (binman 0.2.1 of PyPI was held beside it by hand: the same trees.)

use crate::support::{assert_same, kimage, put, run, run_ok, stderr, stdout, tempdir, testdata};
use kimage::internals::Fit;
use kimage::internals::fdt::{Flat, Node, Property, Strings};
use std::fs;
use std::path::Path;

/// A device tree of this model.
fn dtb(model: &str) -> Vec<u8> {
    let root = Node::new("").with(Property::string("model", model));
    let root = root.with(Property::strings("compatible", [&*format!("tiny,{model}"), "tiny,board"]));
    let mut out = Vec::new();
    Flat::new(&root, Strings::default()).unwrap().plan(0).unwrap().emit(&mut out).unwrap();
    out
}

fn folder() -> tempfile::TempDir {
    let dir = tempdir();
    for trees in ["dtbs", "few"] {
        fs::create_dir(dir.path().join(trees)).unwrap();
    }
    for name in ["alpha", "beta", "gamma"] {
        put(dir.path(), &format!("dtbs/{name}.dtb"), &dtb(name));
    }
    put(dir.path(), "few/alpha.dtb", &dtb("alpha"));
    put(dir.path(), "few/notes.txt", b"no tree");
    put(dir.path(), "u-boot.bin", b"a boot loader");
    fs::copy(testdata("tiny/kernel"), dir.path().join("bl31.elf")).unwrap();
    dir
}

fn fit(dir: &Path, text: &str, options: &[&str]) -> Result<Vec<u8>, String> {
    fs::write(dir.join("x.its"), text).unwrap();
    let _ = fs::remove_file(dir.join("x.itb"));
    let output = run(kimage().current_dir(dir).args(["fit", "x.its", "--quiet", "-o", "x.itb"]).args(options));
    let made = fs::read(dir.join("x.itb")).ok();
    assert_eq!(output.status.success(), made.is_some());
    made.ok_or_else(|| stderr(&output))
}

const U_BOOT: &str = "u-boot { description = \"U-Boot\"; type = \"standalone\"; os = \"u-boot\"; arch = \"arm64\"; compression = \"none\";
    load = <0x200000>; data = /incbin/(\"u-boot.bin\"); };";
const TREE: &str = "@fdt-SEQ { description = \"fdt-NAME.dtb\"; type = \"flat_dt\"; compression = \"none\"; hash { algo = \"sha256\"; }; };";
const CONFIGURATION: &str =
    "default = \"@config-DEFAULT-SEQ\"; @config-SEQ { description = \"NAME of SEQ\"; fdt = \"fdt-SEQ\";
    loadables = \"u-boot\"; fit,compatible; };";

fn source(directives: &str, images: &str, configurations: &str) -> String {
    format!(
        "/dts-v1/; / {{ description = \"boards\"; #address-cells = <1>; {directives} images {{ {images} }}; \
         configurations {{ {configurations} }}; }};"
    )
}

/// The same with each node written by hand.
fn by_hand(names: &[&str], default: usize) -> String {
    let (mut images, mut configurations) = (U_BOOT.to_owned(), format!("default = \"config-{default}\";"));
    for (number, name) in (1..).zip(names) {
        images += &format!(
            "fdt-{number} {{ description = \"fdt-{name}.dtb\"; type = \"flat_dt\"; compression = \"none\"; \
             data = /incbin/(\"dtbs/{name}.dtb\"); hash {{ algo = \"sha256\"; }}; }};"
        );
        configurations += &format!(
            "config-{number} {{ description = \"{name} of {number}\"; fdt = \"fdt-{number}\"; loadables = \"u-boot\"; \
             compatible = \"tiny,{name}\", \"tiny,board\"; }};"
        );
    }
    source("", &images, &configurations)
}

/// Each way to name the device trees, and each directive of the whole.
#[test]
fn nodes_for_each_device_tree() {
    let dir = folder();
    let dir = dir.path();
    let images = format!("{U_BOOT} {TREE}");
    let beta = &["--entry-arg", "default-dt=beta"][..];
    let all = ["alpha", "beta", "gamma"];
    let list = &["--entry-arg", "of-list=gamma  beta", "--fdt-dir", "dtbs"][..];
    for (directives, options, names, default) in [
        ("", &["--fdt-dir", "dtbs"][..], &all[..], 2),
        ("fit,fdt-list = \"of-list\";", &["--fdt-dir", "dtbs"], &all, 2),
        ("fit,fdt-list = \"of-list\";", list, &["gamma", "beta"], 2),
        ("fit,fdt-list = \"of-list\";", &["--entry-arg", "of-list=beta alpha", "-i", "dtbs"], &["beta", "alpha"], 1),
        ("fit,fdt-list-val = \"beta\", \"gamma\";", &["--fdt-dir", "dtbs"], &["beta", "gamma"], 1),
        ("fit,fdt-list-dir = \"dtbs\";", &[], &all, 2),
    ] {
        let text = source(directives, &images, CONFIGURATION);
        let made = fit(dir, &text, &[options, beta].concat()).unwrap();
        let wanted = fit(dir, &by_hand(names, default), &[]).unwrap();
        assert_same(directives, &made, &wanted);
    }
    let text = |directives: &str| source(directives, &images, CONFIGURATION);
    let options = [beta, &["--fdt-dir", "dtbs"]].concat();
    for (directives, by_option) in [
        ("fit,external-offset = <0>; fit,align = <512>; fit,sign; fit,encrypt;", &["-E", "-B", "200"][..]),
        ("fit,external-offset = <0x4000>;", &["-E", "-p", "4000"]),
    ] {
        let made = fit(dir, &text(directives), &options).unwrap();
        assert_same(directives, &made, &fit(dir, &by_hand(&all, 2), by_option).unwrap());
    }
    // Options count more than the source.
    let made = fit(dir, &text("fit,external-offset = <0x4000>;"), &[&options[..], &["-E"]].concat()).unwrap();
    assert_same("-E", &made, &fit(dir, &by_hand(&all, 2), &["-E"]).unwrap());
    // By name, and a folder with one tree.
    let named = |text: &str| text.replace("-SEQ", "-NAME");
    let made = fit(
        dir,
        &source("", &named(&images), &named(CONFIGURATION)),
        &["--fdt-dir", "few", "--entry-arg", "default-dt=alpha"],
    );
    let wanted = by_hand(&["alpha"], 1).replace("fdt-1", "fdt-alpha").replace("config-1", "config-alpha");
    assert_same("by name", &made.unwrap(), &fit(dir, &wanted, &[]).unwrap());
}

/// An ELF file becomes a node for each segment that is loaded, as another reader finds them; configurations take them up.
#[test]
fn nodes_for_each_segment() {
    let dir = folder();
    let dir = dir.path();
    let bytes = fs::read(dir.join("bl31.elf")).unwrap();
    let elf = goblin::elf::Elf::parse(&bytes).unwrap();
    let what = "description = \"TF-A\"; type = \"firmware\"; arch = \"arm64\"; os = \"arm-trusted-firmware\"; compression = \"none\";";
    let template = format!(
        "@atf-SEQ {{ fit,operation = \"split-elf\"; {what} fit,load; fit,entry; fit,data; data = /incbin/(\"bl31.elf\"); \
         hash {{ algo = \"sha256\"; }}; }};"
    );
    let cells = |address: u64| match u32::try_from(address) {
        Ok(address) => format!("<{address:#x}>"),
        Err(_) => format!("<{:#x} {:#x}>", address >> 32, address & 0xffff_ffff),
    };
    let (mut images, mut names) = (U_BOOT.to_owned(), Vec::new());
    for (index, segment) in elf.program_headers.iter().enumerate() {
        if segment.p_type == goblin::elf::program_header::PT_LOAD && segment.p_memsz > 0 {
            let entry = if index == 0 { format!("entry = {};", cells(elf.entry)) } else { String::new() };
            names.push(format!("atf-{}", index + 1));
            images += &format!(
                "atf-{} {{ {what} load = {}; {entry} data = /incbin/(\"bl31.elf\", {:#x}, {:#x}); hash {{ algo = \"sha256\"; }}; }};",
                index + 1,
                cells(segment.p_paddr),
                segment.p_offset,
                segment.p_filesz
            );
        }
    }
    assert!(names.len() > 1, "{names:?}");
    let fdt = "fdt-1 { description = \"fdt-alpha.dtb\"; type = \"flat_dt\"; compression = \"none\"; data = /incbin/(\"few/alpha.dtb\"); \
               hash { algo = \"sha256\"; }; };";
    let quoted = |names: &[String]| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let configuration = |roles: &str| {
        format!(
            "default = \"@config-DEFAULT-SEQ\"; @config-SEQ {{ description = \"NAME\"; {roles} fdt = \"fdt-SEQ\"; }};"
        )
    };
    let options = ["--fdt-dir", "few", "--entry-arg", "default-dt=alpha"];
    for (roles, wanted) in [
        ("fit,firmware = \"none\", \"atf-1\", \"u-boot\"; fit,loadables;", {
            let first = names.contains(&"atf-1".to_owned());
            let mut others = if first { vec!["u-boot".to_owned()] } else { Vec::new() };
            others.extend(names.iter().filter(|name| *name != "atf-1").cloned());
            let firmware = if first { "atf-1" } else { "u-boot" };
            format!("firmware = \"{firmware}\"; loadables = {};", quoted(&others))
        }),
        ("firmware = \"u-boot\"; fit,loadables;", format!("firmware = \"u-boot\"; loadables = {};", quoted(&names))),
    ] {
        let made =
            fit(dir, &source("", &format!("{U_BOOT} {template} {TREE}"), &configuration(roles)), &options).unwrap();
        let by_hand =
            configuration(&wanted).replace("@config-DEFAULT-SEQ", "config-1").replace("@config-SEQ", "config-1");
        let by_hand = by_hand.replace("NAME", "alpha").replace("fdt-SEQ", "fdt-1");
        assert_same(roles, &made, &fit(dir, &source("", &format!("{images} {fdt}"), &by_hand), &[]).unwrap());
        let said = run(kimage().current_dir(dir).args(["verify", "x.itb"]));
        assert!(said.status.success() && !stdout(&said).contains("fit.type"), "{}", stdout(&said));
    }
}

/// What generates nothing is refused, with the way out; a source without generator nodes takes none of their options.
#[test]
fn refusals() {
    let dir = folder();
    let dir = dir.path();
    put(dir, "few/broken.dtb", b"no tree");
    let all = source("fit,fdt-list = \"of-list\";", &format!("{U_BOOT} {TREE}"), CONFIGURATION);
    let few = &["--fdt-dir", "few", "--entry-arg", "default-dt=alpha", "--entry-arg", "of-list=alpha"][..];
    assert!(fit(dir, &all, few).is_ok());
    let changed = |from: &str, to: &str| all.replace(from, to);
    for (text, options, words) in [
        (all.clone(), &[][..], "/images/@fdt-SEQ: generates nodes for device trees, and nobody says which"),
        (all.clone(), &[], "--fdt-dir DIR"),
        (all.clone(), &["--fdt-dir", "dtbs"], "nobody says which device tree is the default"),
        (
            all.clone(),
            &["--fdt-dir", "dtbs", "--entry-arg", "default-dt=delta"],
            "delta is not in the list: alpha, beta, gamma",
        ),
        (all.clone(), &["--fdt-dir", "none"], "none"),
        (all.clone(), &["--fdt-dir", "x.its"], "x.its"),
        (all.clone(), &["--entry-arg", "of-list=omega", "--fdt-dir", "dtbs"], "omega.dtb"),
        (all.clone(), &["--entry-arg", "of-list"], "wanted NAME=VALUE"),
        (
            all.clone(),
            &["--entry-arg", "of-list=broken", "--entry-arg", "default-dt=broken", "--fdt-dir", "few"],
            "broken.dtb is no device tree",
        ),
        (changed("fit,compatible;", "fit,fdt-phase = \"spl\";"), few, "run fdtgrep before"),
        (changed("fit,compatible;", "fit,entry;"), few, "fit,entry is no directive that is known here"),
        (changed("fit,compatible;", "fit,operation = \"fold\";"), few, "unknown operation \"fold\""),
        (changed("hash {", "hash { fit,data;"), few, "fit,data is no directive"),
        (changed("fit,fdt-list =", "fit,engine = \"x\"; fit,fdt-list ="), few, "keys on tokens are named by --key"),
        (changed("fit,fdt-list =", "fit,align = <3>; fit,fdt-list ="), few, "wanted a power of two"),
        (changed("@fdt-SEQ {", "@fdt-SEQ { fit,operation = \"split-elf\";"), few, "has no data"),
        (
            changed("@fdt-SEQ {", "@fdt-SEQ { fit,operation = \"split-elf\"; data = \"x\";"),
            few,
            "is to split an ELF file",
        ),
        (by_hand(&["alpha"], 1), few, "the source has no generator nodes"),
        // An image that a configuration names is still missed.
        (changed("loadables = \"u-boot\"", "loadables = \"tee\""), few, "wants image tee, which is not there"),
    ] {
        let said = fit(dir, &text, options).unwrap_err();
        assert!(said.contains(words), "{words}: {said}");
    }
    // No device trees at all: no nodes.
    let made = fit(dir, &all, &["--entry-arg", "of-list="]).unwrap();
    assert_eq!(Fit::parse(&made).unwrap().images().count(), 1);
}

/// Two hundred boards in one FIT.
#[test]
fn two_hundred_boards() {
    let dir = folder();
    let dir = dir.path();
    fs::create_dir(dir.join("many")).unwrap();
    for number in 0..200 {
        put(dir, &format!("many/board-{number:03}.dtb"), &dtb(&format!("b{number}")));
    }
    let text = source("", &format!("{U_BOOT} {TREE}"), CONFIGURATION);
    let made = fit(dir, &text, &["--fdt-dir", "many", "--entry-arg", "default-dt=board-123"]).unwrap();
    let fit = Fit::parse(&made).unwrap();
    assert_eq!((fit.images().count(), fit.configurations().count(), fit.default()), (201, 200, Some("config-124")));
    let last = fit.configurations().last().unwrap();
    assert_eq!((last.compatible(), last.images("fdt")), (vec!["tiny,b199", "tiny,board"], vec!["fdt-200"]));
    run_ok(kimage().current_dir(dir).args(["verify", "x.itb"]));
}

/// Device trees behind the tree of nodes begin at multiples of what is asked for, whatever release of mkimage the rest is of.
#[test]
fn aligned_device_trees() {
    let dir = folder();
    let dir = dir.path();
    put(dir, "u-boot.bin", &[7; 4099]);
    for (options, align) in [
        (&["-E", "--fdt-align", "8"][..], 8),
        (&["-E", "--fdt-align", "1000"], 4096),
        (&["-E", "--fdt-align", "40", "-B", "10", "-p", "8000", "--layout", "2026.10"], 64),
    ] {
        let made = fit(dir, &by_hand(&["alpha", "beta", "gamma"], 1), options).unwrap();
        let fit = Fit::parse(&made).unwrap();
        for image in fit.images().filter(|image| image.text("type") == Some("flat_dt")) {
            let at = image.placement().unwrap().unwrap().range().start;
            assert_eq!(at % align, 0, "{} at {at:#x}, {options:?}", image.name());
            assert_eq!(&image.data().unwrap()[..4], b"\xd0\x0d\xfe\xed");
        }
        assert!(run(kimage().current_dir(dir).args(["verify", "x.itb"])).status.success());
    }
    let said = fit(dir, &by_hand(&["alpha"], 1), &["-E", "-p", "4004", "--fdt-align", "8"]).unwrap_err();
    assert!(said.contains("no multiple of 0x8") && said.contains("--fdt-align"), "{said}");
}
