//! `doctor`.

use clap::Args;
use std::path::PathBuf;

/// Will this kernel reach user space? Says what is in the way, and what the console will show
///
/// Unpacks the initial RAM disks as the kernel does, looks for the first program as it does, and checks that it can be started:
/// CPU and class, interpreter, libraries; drivers of the console, of the root device and its file system. What is set in the
/// kernel is read from its built-in configuration, else from its symbols, else from --config; what none tells is called not
/// known, and no fault. Exit status 1 when it would not reach user space, or when that is not known: what is on a disk is not looked at.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage doctor bzImage --initrd initrd --cmdline 'console=ttyS0 root=/dev/vda1'
  kimage doctor vmlinuz --config config --cmdline 'root=/dev/vda1 rootfstype=ext4' --target qemu-virtio
  kimage doctor bzImage --log dmesg.txt

Give all that the boot loader gives: with --cmdline, a RAM disk that is not named is not there. Targets: qemu-virtio, ahci, nvme,
mptspi (VMware, Parallels), firecracker, cloud-hypervisor, raspberry-pi; systemd and container for what these need. A file of
targets (.toml) has the form of kimage's own: src/doctor/targets.toml.")]
pub(crate) struct Doctor {
    /// The kernel, in any form
    pub(crate) image: PathBuf,
    /// An initial RAM disk (repeatable, in the order of the boot loader)
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Vec<PathBuf>,
    /// The command line that the boot loader gives
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) cmdline: Option<String>,
    /// Where it is to run, or what: a name, or a file of targets (.toml) (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) target: Vec<PathBuf>,
    /// The kernel's .config, if the image does not have it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What the console showed: known messages are explained
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) opening: super::inspect::Opening,
}
