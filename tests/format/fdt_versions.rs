//! Device tree blobs that others wrote otherwise: old versions, blocks in another order, old bytes in free space, a root node
//! with a name. Oracles: dtc, which writes and reads every version, and mkimage.

use crate::support::{kimage, run, run_ok, stderr, stdout, tempdir, tool};
use kimage::internals::fdt::{Dtb, Node};
use std::fs;
use std::path::Path;
use std::process::Command;

const SOURCE: &str = "/dts-v1/;\n/memreserve/ 0x1000 0x200;\n/ { model = \"a long model\"; a = <1>; one = [07]; eight = [01 02 03 04 05 06 07 08];\n\
                      c { d = \"12345678\"; e@1 { f; g = <1 2 3>; }; }; longer-name@20000 { c { h = \"x\"; }; }; };\n";

/// A property `name` that says the node's own name: all that versions before 16 have more.
fn without_names(mut node: Node<'_>) -> Node<'_> {
    let base = node.name.split('@').next().unwrap_or_default().to_owned() + "\0";
    node.properties.retain(|property| property.name != "name" || *property.value != *base.as_bytes());
    node.children = node.children.into_iter().map(without_names).collect();
    node
}

fn verdict(path: &Path) -> (i32, String) {
    let output = run(kimage().arg("verify").arg(path));
    (output.status.code().unwrap(), stdout(&output) + &stderr(&output))
}

#[test]
fn every_version_is_read() {
    let Some(dtc) = tool("dtc", "device-tree-compiler") else { return };
    let dir = tempdir();
    fs::write(dir.path().join("t.dts"), SOURCE).unwrap();
    let made = |version: &str| {
        let file = dir.path().join(format!("v{version}.dtb"));
        let mut command = Command::new(&dtc);
        command.args(["-q", "-q", "-O", "dtb", "-V", version, "-o"]).arg(&file);
        run_ok(command.arg(dir.path().join("t.dts")));
        file
    };
    let newest = fs::read(made("17")).unwrap();
    let newest = Dtb::parse_at(&newest, 0).unwrap();
    for version in ["1", "2", "3", "16", "17"] {
        let file = made(version);
        let bytes = fs::read(&file).unwrap();
        let dtb = Dtb::parse_at(&bytes, 0).unwrap();
        assert_eq!(dtb.version().to_string(), version);
        assert_eq!(dtb.boot_cpu(), 0);
        assert_eq!(dtb.reservations().unwrap(), newest.reservations().unwrap());
        let (tree, same) = (dtb.tree().unwrap(), newest.tree().unwrap());
        assert_eq!(without_names(Node::from(tree.root())), Node::from(same.root()), "version {version}");
        assert!(tree.find("/c/e@1").is_some_and(|node| node.path() == "/c/e@1"));
        let regions = dtb.regions().unwrap();
        assert!(regions.windows(2).all(|pair| pair[0].at.end == pair[1].at.start), "{regions:?}");
        assert_eq!(regions.last().unwrap().at.end, bytes.len() as u64);
        let info = stdout(&run_ok(kimage().arg("info").arg(&file)));
        assert!(info.contains("a long model") && !info.contains("damaged"), "{info}");
        let (code, said) = verdict(&file);
        assert_eq!(code, 0, "{said}");
        assert_eq!(said.contains(&format!("version {version}")), version.len() == 1, "{said}");
        // What is damaged still is.
        for cut in [bytes.len() / 2, bytes.len() - 1] {
            fs::write(dir.path().join("cut"), &bytes[..cut]).unwrap();
            assert_eq!(verdict(&dir.path().join("cut")).0, 1, "version {version} cut at {cut}");
        }
    }
    // There never were versions between.
    let mut never = fs::read(made("3")).unwrap();
    never[23] = 4;
    let error = Dtb::parse_at(&never, 0).unwrap_err();
    assert_eq!(&*error.field, "version");
    assert!(error.to_string().contains("16 or 17"), "{error}");
}

/// The blocks of a blob of dtc in any order, with bytes between and behind them that are no zeros.
#[test]
fn blocks_in_any_order_and_old_bytes() {
    let Some(dtc) = tool("dtc", "device-tree-compiler") else { return };
    let dir = tempdir();
    fs::write(dir.path().join("t.dts"), SOURCE).unwrap();
    for version in [3_u32, 16, 17] {
        let file = dir.path().join("t.dtb");
        let mut command = Command::new(&dtc);
        command.args(["-q", "-q", "-O", "dtb", "-V", &version.to_string(), "-o"]).arg(&file);
        run_ok(command.arg(dir.path().join("t.dts")));
        let bytes = fs::read(&file).unwrap();
        let dtb = Dtb::parse_at(&bytes, 0).unwrap();
        let blocks = dtb.blocks().unwrap();
        for order in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
            let mut moved = bytes[..40].to_vec();
            let mut places = [0_u32; 4];
            for block in order {
                let at = &blocks[block].at;
                moved.extend(b"old");
                moved.resize(moved.len().next_multiple_of(8), b'-');
                places[block] = moved.len() as u32;
                moved.extend(&bytes[at.start as usize..at.end as usize]);
            }
            moved.extend(b"leftover");
            let total = moved.len() as u32;
            // reservations, structure, strings: off_mem_rsvmap, off_dt_struct, off_dt_strings.
            for (field, value) in [(4, total), (16, places[1]), (8, places[2]), (12, places[3])] {
                moved[field..field + 4].copy_from_slice(&value.to_be_bytes());
            }
            let what = format!("version {version}, order {order:?}");
            fs::write(&file, &moved).unwrap();
            run_ok(Command::new(&dtc).args(["-q", "-q", "-I", "dtb", "-O", "dtb", "-o", "/dev/null"]).arg(&file));
            let again = Dtb::parse_at(&moved, 0).unwrap();
            assert_eq!(Node::from(again.tree().unwrap().root()), Node::from(dtb.tree().unwrap().root()), "{what}");
            let mut end = 0;
            for region in again.regions().unwrap() {
                assert_eq!(region.at.start, end, "{what}");
                end = region.at.end;
            }
            assert_eq!(end, u64::from(total));
            let (code, said) = verdict(&file);
            assert_eq!(code, 0, "{what}: {said}");
            // A block in another is none of these.
            let structure = places[2] + 8;
            moved[12..16].copy_from_slice(&structure.to_be_bytes());
            fs::write(&file, &moved).unwrap();
            assert_eq!(verdict(&file).0, 1, "{what}");
        }
    }
}

/// What mkimage writes is good, wherever the data stands.
#[test]
fn fits_of_mkimage_are_good() {
    if tool("dtc", "device-tree-compiler").is_none() {
        return;
    }
    let Some(mkimage) = tool("mkimage", "u-boot-tools") else { return };
    let dir = tempdir();
    let file = dir.path().join("m.itb");
    fs::write(dir.path().join("b.dts"), "/dts-v1/; / { compatible = \"a,b\"; };\n").unwrap();
    run_ok(Command::new("dtc").current_dir(dir.path()).args(["-q", "-O", "dtb", "-o", "b.dtb", "b.dts"]));
    for number in 0_usize..12 {
        let noise: Vec<u8> = (0..700 + 37 * number).map(|at| ((at * 7919) >> 3) as u8 | 1).collect();
        fs::write(dir.path().join("k"), noise).unwrap();
        let source = format!(
            "/dts-v1/;\n/ {{ description = \"{}\"; #address-cells = <1>; images {{\n\
             kernel-1 {{ description = \"k\"; data = /incbin/(\"k\"); type = \"kernel\"; arch = \"arm64\"; os = \"linux\"; \
             compression = \"none\"; load = <0x42000000>; entry = <0x42000000>; hash-1 {{ algo = \"sha256\"; }}; }};\n\
             fdt-1 {{ description = \"f\"; data = /incbin/(\"b.dtb\"); type = \"flat_dt\"; arch = \"arm64\"; \
             compression = \"none\"; hash-1 {{ algo = \"crc32\"; }}; }}; }};\n\
             configurations {{ default = \"conf-1\"; conf-1 {{ kernel = \"kernel-1\"; fdt = \"fdt-1\"; }}; }}; }};\n",
            "d".repeat(number)
        );
        fs::write(dir.path().join("t.its"), source).unwrap();
        for options in [&[][..], &["-E"], &["-E", "-B", "1000"], &["-E", "-p", "10000"]] {
            let mut command = Command::new(&mkimage);
            command.env("SOURCE_DATE_EPOCH", "1").current_dir(dir.path()).args(options).args(["-f", "t.its", "m.itb"]);
            run_ok(&mut command);
            let (code, said) = verdict(&file);
            assert_eq!(code, 0, "{number} {options:?}: {said}");
        }
    }
}

/// libfdt's fdt_check_full, which U-Boot asks of FITs: a root node with a name is wrong.
#[test]
fn a_root_with_a_name() {
    let dir = tempdir();
    let file = dir.path().join("named.dtb");
    let made = |name: &[u8; 4]| {
        let words: [u32; 18] = [0xd00d_feed, 72, 56, 72, 40, 17, 16, 0, 0, 16, 0, 0, 0, 0, 1, 0, 2, 9];
        let mut blob: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        blob[60..64].copy_from_slice(name);
        fs::write(&file, blob).unwrap();
        verdict(&file)
    };
    assert_eq!(made(b"\0\0\0\0").0, 0);
    let (code, said) = made(b"foo\0");
    assert!(code == 1 && said.contains("dtb.root_name") && said.contains("foo"), "{said}");
}
