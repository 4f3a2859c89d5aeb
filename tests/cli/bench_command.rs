//! `kimage bench`: what is compressed, what is said, and that nothing that goes wrong is hidden.

use crate::support::{
    self, assert_same, corpus, kimage, kimage_path, missing, noise, run, run_ok, stderr, stdout, tempdir, testdata,
    tool,
};
use kimage::assemble::{PayloadForm, payload, payload_as_is};
use kimage::codec::{Bcj, Codec};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Data that codecs make different things of: numbered lines.
fn lines(len: usize) -> Vec<u8> {
    let mut data = Vec::new();
    for number in 0_u64.. {
        writeln!(data, "line {number}: {:x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).unwrap();
        if data.len() >= len {
            break;
        }
    }
    data.truncate(len);
    data
}

fn file(dir: &Path, len: usize) -> PathBuf {
    let path = dir.join("data");
    fs::write(&path, lines(len)).unwrap();
    path
}

fn bench(path: &Path, words: &[&str]) -> Command {
    let mut command = kimage();
    command.arg("bench").arg(path).args(words);
    command
}

fn json(command: &mut Command) -> Value {
    serde_json::from_slice(&run_ok(command.arg("--json")).stdout).unwrap()
}

fn codecs(report: &Value) -> Vec<&str> {
    report["results"].as_array().unwrap().iter().map(|row| row["codec"].as_str().unwrap()).collect()
}

#[track_caller]
fn fails(output: &Output, code: i32, words: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in:\n{text}");
    }
}

/// The tree's own compressed kernel holds it: what the real build compressed is what is measured.
#[test]
fn the_payload_is_what_the_build_compressed() {
    for tree in corpus() {
        let config = String::from_utf8(tree.read(".config")).unwrap();
        let folder = if tree.is_x86() { "arch/x86/boot/compressed" } else { "arch/arm/boot/compressed" };
        // piggy.S names the file.
        let piggy = String::from_utf8(tree.read(&format!("{folder}/piggy.S"))).unwrap();
        let packed = piggy.split(".incbin").nth(1).and_then(|rest| rest.split('"').nth(1)).unwrap();
        let packed = tree.read(packed);
        let mut want = Vec::new();
        Codec::identify(&packed).unwrap().decompress(&packed, u64::MAX, &mut want).unwrap();

        let unstripped = tree.path("vmlinux.unstripped").is_file();
        let vmlinux = tree.read(if unstripped { "vmlinux.unstripped" } else { "vmlinux" });
        let got = payload(&vmlinux).unwrap();
        assert_same(&tree.name, &got.bytes, &want);
        assert!(got.findings.is_empty(), "{}: {:?}", tree.name, got.findings);
        let thumb = config.contains("CONFIG_THUMB2_KERNEL=y\n");
        match got.form {
            PayloadForm::Elf { relocs_size } => {
                assert!(tree.is_x86() && got.bcj == Bcj::X86);
                let relocs = config.contains("CONFIG_X86_NEED_RELOCS=y\n");
                assert_eq!(relocs_size.is_some_and(|size| size > 0), relocs, "{}", tree.name);
            }
            PayloadForm::Flat => assert!(got.bcj == if thumb { Bcj::ArmThumb } else { Bcj::Arm }, "{}", tree.name),
            PayloadForm::AsIs => panic!("{}", tree.name),
        }
        if tree.is_x86() {
            let again = payload(&want).unwrap();
            assert!(again.form == PayloadForm::AsIs && again.bcj == Bcj::X86, "{}", tree.name);
            assert_eq!(again.findings[0].rule, "payload.ready", "{}", tree.name);
        }
        if unstripped {
            // 6.12's build cuts the relocations out of vmlinux, 7.2's leaves none in it.
            let bare = tree.read("vmlinux");
            let bare = payload(&bare).unwrap();
            assert!(
                want.starts_with(&bare.bytes) && bare.form == PayloadForm::Elf { relocs_size: None },
                "{}",
                tree.name
            );
            assert_eq!(bare.findings[0].rule, "payload.no_relocs");
        }
    }
}

#[test]
fn what_hardly_gets_smaller_is_noticed() {
    let rules = |payload: kimage::assemble::Payload<'_>| -> Vec<&str> {
        payload.findings.iter().map(|finding| finding.rule).filter(|rule| *rule != "payload.no_relocs").collect()
    };
    for name in ["vmlinux", "arm-vmlinux"] {
        let decompressor = support::read(&testdata("tiny").join(name));
        assert_eq!(rules(payload(&decompressor).unwrap()), ["payload.decompressor"], "{name}");
        assert!(rules(payload_as_is(&decompressor)).is_empty());
    }
    // A payload as it is cut out of an image: ELF file and table.
    let whole = [support::read(&testdata("tiny").join("vmlinux")), b"table".to_vec()].concat();
    assert_eq!(rules(payload(&whole).unwrap()), ["payload.decompressor"]);
    assert_eq!(rules(payload(&[0x1f, 0x8b, 8, 0, 0, 0]).unwrap()), ["payload.compressed"]);
    assert!(rules(payload(b"text").unwrap()).is_empty());
}

#[test]
fn the_table_has_every_codec_once() {
    let dir = tempdir();
    let output = run_ok(&mut bench(&file(dir.path(), 300_000), &[]));
    assert_eq!(stderr(&output), "");
    let text = stdout(&output);
    assert!(
        text.starts_with(&format!("{}: 293.0 KiB, taken as it is\n\n", dir.path().join("data").display())),
        "{text}"
    );
    let rows: Vec<&str> = text.lines().skip(3).take_while(|line| !line.is_empty()).collect();
    let mut names: Vec<&str> = rows.iter().map(|row| row.split_whitespace().next().unwrap()).collect();
    names.sort_unstable();
    let mut want =
        ["gzip", "gzip-best", "bzip2", "lzma", "xz", "xz-0", "lzo", "lz4", "lz4-1", "zstd", "zstd-3", "zstd-19"];
    want.sort_unstable();
    // One piece of 16 MiB is no split.
    assert_eq!(names, want);
    // Aligned: every line as long as its columns.
    let ends: Vec<usize> = rows.iter().map(|row| row.find('%').unwrap()).collect();
    assert!(ends.iter().all(|end| *end == ends[0]), "{text}");
    assert!(text.contains("* Pareto front over size and the time of that column"), "{text}");
    assert!(rows.iter().any(|row| row.contains('*')), "{text}");
}

/// The fronts by another way than the library's: along the sizes, each new best time, and its equals.
#[test]
fn json_says_it_all() {
    let dir = tempdir();
    let path = file(dir.path(), 200_000);
    let report = json(&mut bench(&path, &["-j", "3", "--runs", "2"]));
    assert_eq!((&report["schema"], &report["command"]), (&1.into(), &"bench".into()));
    assert_eq!(report["input"], path.to_str().unwrap());
    let want = serde_json::json!({ "form": "as-is", "size": 200_000, "bcj": "none" });
    assert_eq!(report["payload"], want);
    let want = serde_json::json!({ "threads": 3, "compress_runs": 2, "decompress_runs": 6 });
    assert_eq!(report["conditions"], want);
    assert_eq!(report["failed"], serde_json::json!([]));
    let rows = report["results"].as_array().unwrap();
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{report:#}"));
    for (side, row) in ["compress", "decompress"].iter().flat_map(|side| rows.iter().map(move |row| (side, row))) {
        let (size, ns) = (number(&row["size"]), number(&row[side]["ns"]));
        assert!(size > 0 && ns > 0);
        assert!((row["ratio"].as_f64().unwrap() - size as f64 / 200_000.0).abs() < 1e-12);
        let best_before = rows.iter().filter(|other| number(&other["size"]) < size);
        let best_before = best_before.map(|other| number(&other[side]["ns"])).min().unwrap_or(u64::MAX);
        let best_here = rows.iter().filter(|other| number(&other["size"]) == size);
        let best_here = best_here.map(|other| number(&other[side]["ns"])).min().unwrap();
        assert_eq!(row[side]["on_front"], ns < best_before && ns == best_here, "{row:#}\n{report:#}");
        if cfg!(target_os = "linux") {
            number(&row[side]["memory"]);
        }
    }
    assert!(rows.windows(2).all(|pair| number(&pair[0]["size"]) <= number(&pair[1]["size"])));
}

/// The sizes are those of `kimage compress` with the options that the name stands for.
#[test]
fn names_stand_for_options() {
    let dir = tempdir();
    let path = file(dir.path(), 100_000);
    for (name, words) in [
        ("gzip", &["gzip"][..]),
        ("gzip-best", &["gzip", "--best"]),
        ("lz4-frame-1", &["lz4-frame", "--level", "1"]),
        ("zstd-19-split", &["zstd", "--level", "19", "--split"]),
        ("xz-9-64KiB", &["xz", "--level", "9", "--dict-size", "64KiB"]),
        ("none", &["none"]),
    ] {
        let report = json(&mut bench(&path, &["--codec", name]));
        assert_eq!(codecs(&report), [name]);
        let len = run_ok(kimage().arg("compress").args(words).arg(&path)).stdout.len();
        assert_eq!(report["results"][0]["size"], len, "{name}");
    }
    // Each once.
    let report = json(&mut bench(&path, &["--codec", "lz4", "--codec", "none", "--codec", "lz4"]));
    assert_eq!(codecs(&report), ["lz4", "none"]);
}

/// For an ARM kernel, whose flat image does not tell its CPU: xz gets the branch converter of the ELF file.
#[test]
fn xz_gets_the_converter_of_the_kernel() {
    let Some(tree) = support::tree("arm-gzip") else { return };
    let dir = tempdir();
    let report = json(&mut bench(&tree.path("vmlinux"), &["--codec", "xz-0", "-q"]));
    assert_eq!(report["payload"]["bcj"], "armthumb");
    let image = tree.path("arch/arm/boot/Image");
    let packed = dir.path().join("xz");
    run_ok(kimage().args(["compress", "xz", "--level", "0", "--bcj", "armthumb"]).arg(image).arg("-o").arg(&packed));
    assert_eq!(report["results"][0]["size"], fs::metadata(packed).unwrap().len());
}

#[test]
fn standard_input_and_elf_files_as_they_are() {
    let dir = tempdir();
    let path = file(dir.path(), 50_000);
    let mut command = bench(Path::new("-"), &["--codec", "gzip"]);
    let report = json(command.stdin(fs::File::open(&path).unwrap()));
    assert_eq!((&report["input"], &report["payload"]["size"]), (&"standard input".into(), &50_000.into()));
    let elf = testdata("tiny").join("vmlinux");
    let len = fs::metadata(&elf).unwrap().len();
    assert_eq!(json(&mut bench(&elf, &["--codec", "lz4", "--as-is"]))["payload"]["size"], len);
    let stripped = json(&mut bench(&elf, &["--codec", "lz4"]));
    assert_eq!(stripped["payload"]["form"], "elf");
    assert_eq!(stripped["findings"][0]["rule"], "payload.decompressor");
}

#[test]
fn errors_say_what_to_do() {
    let dir = tempdir();
    let path = file(dir.path(), 1000);
    fails(&run(&mut bench(dir.path(), &[])), 1, &["is a folder; give a file"]);
    fails(&run(&mut bench(Path::new("/no/such"), &[])), 1, &["/no/such: cannot be opened"]);
    fails(&run(&mut bench(Path::new("/dev/null"), &[])), 1, &["/dev/null: is empty; give"]);
    fails(&run(&mut bench(Path::new("-"), &[])), 1, &["standard input: is empty; give"]);
    for (broken, why) in [
        (&b"\x7fELF"[..], "the input ends too early"),
        (&[b"\x7fELF\x02\x01\x01", &[0xff; 200][..]].concat(), "help: "),
    ] {
        fs::write(dir.path().join("broken"), broken).unwrap();
        fails(&run(&mut bench(&dir.path().join("broken"), &[])), 1, &["broken: ", "at offset 0x", why]);
    }
    for (words, why) in [
        (&["--codec", "rar"][..], "begins with no codec; there are none, gzip"),
        (&["--codec", "gzip-12"], "allowed are 1 to 9"),
        (&["--codec", "xz-best"], "--best means nothing to xz"),
        (&["--runs", "0"], "--runs"),
        (&["-j", "0"], "--jobs"),
        (&["--svg", "-", "--json"], "cannot both go to standard output"),
    ] {
        let output = run(&mut bench(&path, words));
        fails(&output, 2, &[why, "--help"]);
        assert!(output.stdout.is_empty());
    }
    // Known before the work, which would go on for minutes here.
    let long = dir.path().join("long");
    fs::write(&long, noise(64 << 20, 1)).unwrap();
    for (svg, why) in [("no/such/plot.svg", "there is no folder"), (".", "is a folder; name a file")] {
        let started = Instant::now();
        fails(&run(bench(&long, &["--svg", svg]).current_dir(dir.path())), 1, &[svg, why]);
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn the_plot_is_a_file_or_standard_output() {
    let dir = tempdir();
    let path = file(dir.path(), 100_000);
    let words = ["--codec", "lz4", "--codec", "gzip", "--codec", "xz"];
    let output = run_ok(bench(&path, &words).args(["--svg", "plot.svg"]).current_dir(dir.path()));
    assert_eq!(stderr(&output), "plot.svg is ready\n");
    assert!(stdout(&output).contains("decompress"));
    let plot = fs::read_to_string(dir.path().join("plot.svg")).unwrap();
    let document = roxmltree::Document::parse(&plot).unwrap();
    let names: Vec<&str> = document.descendants().filter_map(|node| node.text()).collect();
    for want in ["lz4", "gzip", "xz", "Time to decompress", "Memory to compress"] {
        assert!(names.contains(&want), "{want} is not in {names:?}");
    }
    let output = run_ok(bench(&path, &words).args(["--svg", "-"]));
    assert!(stdout(&output).starts_with("<svg ") && stderr(&output).contains("decompress"));
    let quiet = run_ok(bench(&path, &words).args(["--svg", "plot.svg", "-q"]).current_dir(dir.path()));
    assert_eq!(stderr(&quiet), "");
}

/// A name that XML cannot say, in the title of the plot.
#[test]
fn any_file_name_is_plotted() {
    let dir = tempdir();
    let path = dir.path().join("a<b>&\"\u{1b}[31m");
    fs::write(&path, lines(1000)).unwrap();
    let output = run_ok(&mut bench(&path, &["--codec", "none", "--svg", "-"]));
    let plot = stdout(&output);
    let document = roxmltree::Document::parse(&plot).unwrap();
    assert!(document.descendants().any(|node| node.text().is_some_and(|text| text.ends_with("a<b>&\"\u{fffd}[31m"))));
}

#[test]
fn a_full_disk_loses_the_plot_alone() {
    let dir = tempdir();
    let path = file(dir.path(), 10_000);
    let output = run(&mut bench(&path, &["--codec", "lz4", "--svg", "/dev/full"]));
    fails(&output, 1, &["/dev/full", "No space left on device"]);
    assert!(stdout(&output).contains("lz4"));
    // On a real one, the old plot stays as well.
    let Some(unshare) = tool("unshare", "util-linux") else { return };
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=8k none {disk} || exit 77
         echo old > {disk}/out
         {kimage} bench {data} --codec lz4 --svg {disk}/out > {dir}/table; echo status $?
         cat {disk}/out; ls -A {disk}",
        disk = disk.display(),
        kimage = kimage_path(),
        data = path.display(),
        dir = dir.path().display(),
    );
    let mut output = run(Command::new(&unshare).args(["-m", "sh", "-c", &script]));
    if output.status.code() != Some(0) {
        output = run(Command::new(&unshare).args(["-rm", "sh", "-c", &script]));
    }
    if output.status.code() != Some(0) {
        return missing(&format!("no tmpfs can be mounted here: {}", stderr(&output)));
    }
    assert_eq!(stdout(&output), "status 1\nold\nout\n", "{}", stderr(&output));
    assert!(stderr(&output).contains("No space left on device"), "{}", stderr(&output));
    assert!(fs::read_to_string(dir.path().join("table")).unwrap().contains("lz4"));
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let dir = tempdir();
    let path = file(dir.path(), 1000);
    let mut command = bench(&path, &["--codec", "lz4", "--svg", "plot.svg", "-q"]);
    let mut child = command.current_dir(dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && stderr(&output).is_empty(), "{}", stderr(&output));
    assert!(dir.path().join("plot.svg").is_file());
}

/// zstd's highest level needs 700 MiB: without them it fails, and the others do not.
#[test]
fn one_that_fails_does_not_hide_the_others() {
    let dir = tempdir();
    let path = file(dir.path(), 100_000);
    let line = format!(
        "ulimit -v 400000 && exec {} bench {} --codec gzip --codec zstd --codec lz4 --json -j 1",
        kimage_path(),
        path.display()
    );
    let output = run(Command::new("sh").args(["-c", &line]));
    fails(&output, 1, &["error: zstd: ", "error: 1 of 3 codecs failed"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut names = codecs(&report);
    names.sort_unstable();
    assert_eq!(names, ["gzip", "lz4"]);
    assert_eq!(report["failed"][0]["codec"], "zstd");
    assert!(!report["failed"][0]["message"].as_str().unwrap().is_empty());
}

/// A process that is at work when kimage is killed ends, too.
#[test]
fn nothing_goes_on_without_kimage() {
    let children = |parent: u32| -> Vec<u32> {
        let path = format!("/proc/{parent}/task/{parent}/children");
        let text = fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    };
    let dir = tempdir();
    let path = dir.path().join("long");
    fs::write(&path, noise(64 << 20, 1)).unwrap();
    let mut kimage = bench(&path, &["--codec", "xz", "-j", "1"]).stdout(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut found = Vec::new();
    while found.is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
        found = children(kimage.id());
        if kimage.try_wait().unwrap().is_some() {
            break;
        }
    }
    kimage.kill().unwrap();
    kimage.wait().unwrap();
    let Some(child) = found.first() else {
        return missing("no process of kimage bench was seen: /proc has no children here, or the machine is too fast");
    };
    let is_there = || fs::read_to_string(format!("/proc/{child}/cmdline")).is_ok_and(|line| line.contains("bench-one"));
    while is_there() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!is_there());
}

#[test]
fn terminals_see_progress_and_colour() {
    let Some(script) = tool("script", "bsdutils") else { return };
    let dir = tempdir();
    let path = file(dir.path(), 4 << 20);
    let line = format!("{} bench {} --codec xz --codec none", kimage_path(), path.display());
    let on_terminal = |no_color: &str| {
        let mut command = Command::new(&script);
        command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).env("NO_COLOR", no_color).env("TERM", "xterm");
        stdout(&run_ok(&mut command))
    };
    let text = on_terminal("");
    assert!(text.contains("xz: compressing (codec 1 of 2)"), "{text}");
    assert!(text.contains("\u{1b}[1;32m"), "{text}");
    assert!(!on_terminal("1").contains("\u{1b}[1;32m"));
    // Nobody looks.
    let output = run_ok(&mut bench(&path, &["--codec", "none"]));
    assert!(stderr(&output).is_empty() && !stdout(&output).contains('\u{1b}'));
}
