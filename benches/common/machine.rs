//! What figures depend on, for the head of each table.

use std::path::Path;
use std::process::Command;

/// Prints machine, system, file system of `folder`, compiler, kimage, and what each of `tools` says of its version.
pub(crate) fn print(folder: &Path, tools: &[(&str, &str)]) {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok();
        output
            .map(|output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
            .unwrap_or_default()
    };
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let folder = folder.display().to_string();
    let system = said("df", &["--output=fstype", &folder]);
    println!("{}, {cpus} CPUs, load {}", model.unwrap_or("?"), read("/proc/loadavg").split(' ').next().unwrap_or("?"));
    println!(
        "Linux {}, {} in {folder}",
        read("/proc/sys/kernel/osrelease").trim(),
        system.lines().last().unwrap_or("?")
    );
    println!("kimage {}, {}", env!("CARGO_PKG_VERSION"), said("rustc", &["--version"]).trim());
    // See .cargo/config.toml: without it, liblzma takes a sixth longer.
    let flags = [
        option_env!("CFLAGS_x86_64_unknown_linux_gnu"),
        option_env!("CFLAGS_aarch64_unknown_linux_gnu"),
        option_env!("CFLAGS"),
    ];
    let is_fast = flags.iter().flatten().any(|flags| flags.contains("TUKLIB_FAST_UNALIGNED_ACCESS"));
    println!(
        "liblzma of kimage: {}",
        if is_fast { "with unaligned loads" } else { "**without unaligned loads**: see .cargo/config.toml" }
    );
    for (tool, option) in tools {
        let text = said(tool, &[option]);
        let version = text.lines().find(|line| line.chars().any(|c| c.is_ascii_digit()));
        println!("{tool}: {}", version.unwrap_or("not there").trim());
    }
    println!();
}
