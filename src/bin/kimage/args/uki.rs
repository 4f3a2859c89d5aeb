//! The command line of `kimage uki`, and the configuration file that gives the same.

use super::Building;
use super::codec::{CodecOptions, UKI_CODECS, one_of};
use clap::Args;
use kimage::codec::Codec;
use std::path::PathBuf;

/// UEFI: kernel, RAM disk and command line in one program (unified kernel image)
///
/// The options and the bytes are those of systemd's ukify (257), of which no program is called: the same inputs give the same file.
/// Without --stub the boot stub is kimage's own, which is for x86-64, needs nothing installed, and starts any such kernel, a
/// bare vmlinux among them. With another stub the kernel is an EFI program; one that is compressed is unpacked.
///
/// Without --linux the image is an addon, or with --profile a profile to be joined to another (--join-profile).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage uki --linux vmlinux --initrd initrd.img --cmdline 'root=/dev/vda1 quiet' -o linux.efi
  kimage uki --linux /boot/vmlinuz --initrd ucode.img --initrd initrd.img --cmdline @cmdline \\
      --stub /usr/lib/systemd/boot/efi/linuxx64.efi.stub -o linux.efi
  kimage uki --linux vmlinuz --cmdline quiet --key db.key --cert db.crt -o linux.efi      signed for Secure Boot
  kimage uki --cmdline debug -o debug.addon.efi                                           an addon
  kimage uki --profile 'ID=rescue' --cmdline single -o rescue.efi
  kimage uki --linux vmlinuz --cmdline quiet --join-profile rescue.efi -o linux.efi
  kimage uki --linux vmlinuz --stub linuxx64.efi.stub --pcr-private-key pcr.key -o linux.efi     what a TPM measures is signed
  kimage uki --config uki.conf -o linux.efi")]
pub(crate) struct Uki {
    #[command(flatten)]
    pub(crate) parts: Parts,
    /// How kimage's own stub has the kernel compressed [default: zstd]
    #[arg(long, value_name = "CODEC", value_parser = one_of(UKI_CODECS))]
    pub(crate) compress: Option<Codec>,
    /// Make it though the stub cannot start the kernel
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) codec: CodecOptions,
    #[command(flatten)]
    pub(crate) building: Building,
}

/// What ukify has, too.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Parts {
    /// A file with the same in lines Linux=FILE and so on, below [UKI], as ukify has it; what is given here counts more
    #[arg(short = 'c', long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The kernel [.linux]
    #[arg(long, value_name = "FILE")]
    pub(crate) linux: Option<PathBuf>,
    /// A RAM disk [.initrd] (repeatable: one behind the other)
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Vec<PathBuf>,
    /// The kernel's command line [.cmdline]
    #[arg(long, value_name = "TEXT|@FILE")]
    pub(crate) cmdline: Option<String>,
    /// os-release of the system [.osrel]; by default /etc/os-release, and '' for none
    #[arg(long, value_name = "TEXT|@FILE")]
    pub(crate) os_release: Option<String>,
    /// The kernel's release [.uname]; by default what the kernel says
    #[arg(long, value_name = "RELEASE")]
    pub(crate) uname: Option<String>,
    /// A picture, BMP [.splash]
    #[arg(long, value_name = "FILE")]
    pub(crate) splash: Option<PathBuf>,
    /// A device tree [.dtb]
    #[arg(long, value_name = "FILE", visible_alias = "dtb")]
    pub(crate) devicetree: Option<PathBuf>,
    /// A device tree that the stub may choose [.dtbauto] (repeatable)
    #[arg(long, value_name = "FILE", visible_alias = "dtbauto")]
    pub(crate) devicetree_auto: Vec<PathBuf>,
    /// A folder with descriptions of devices (*.json), or one such file [.hwids]
    #[arg(long, value_name = "DIR")]
    pub(crate) hwids: Option<PathBuf>,
    /// A RAM disk with microcode [.ucode]
    #[arg(long, value_name = "FILE", visible_alias = "ucode")]
    pub(crate) microcode: Option<PathBuf>,
    /// Lines of SBAT behind those of stub and kernel [.sbat]; by default one that names the UKI specification (repeatable)
    #[arg(long, value_name = "TEXT|@FILE")]
    pub(crate) sbat: Vec<String>,
    /// The public key of PCR signatures [.pcrpkey]
    #[arg(long, value_name = "FILE")]
    pub(crate) pcrpkey: Option<PathBuf>,
    /// Sign what a TPM's register 11 comes to with this private key [.pcrsig]; its public key is .pcrpkey by default (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) pcr_private_key: Vec<PathBuf>,
    /// The public key that belongs to it (repeatable, in the same order)
    #[arg(long, value_name = "FILE", requires = "pcr_private_key")]
    pub(crate) pcr_public_key: Vec<PathBuf>,
    /// The phases that it signs for, each words with colons between them, blanks between the phases (repeatable, in the same order)
    /// [default: systemd's four]
    #[arg(long, value_name = "PHASES", requires = "pcr_private_key")]
    pub(crate) phases: Vec<String>,
    /// The banks that are signed: sha1, sha256, sha384, sha512 [default: all of them]
    #[arg(long, value_name = "HASH", value_delimiter = ',', value_parser = super::measure::bank)]
    pub(crate) pcr_banks: Vec<kimage::assemble::Algorithm>,
    /// A further section (repeatable)
    #[arg(long, value_name = "NAME:TEXT|@FILE")]
    pub(crate) section: Vec<String>,
    /// What the profile is called: lines ID=NAME, TITLE=TEXT [.profile]
    #[arg(long, value_name = "TEXT|@FILE")]
    pub(crate) profile: Option<String>,
    /// The image of a further profile (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) join_profile: Vec<PathBuf>,
    /// The boot stub: linuxx64.efi.stub of systemd or another [default: kimage's own]
    #[arg(long, value_name = "FILE")]
    pub(crate) stub: Option<PathBuf>,
    /// Sign with this private key, for Secure Boot
    #[arg(long, value_name = "FILE", visible_alias = "key", requires = "secureboot_certificate")]
    pub(crate) secureboot_private_key: Option<PathBuf>,
    /// The certificate of that key
    #[arg(long, value_name = "FILE", visible_alias = "cert", requires = "secureboot_private_key")]
    pub(crate) secureboot_certificate: Option<PathBuf>,
    /// Sign the kernel in it, too [default: if it is not signed yet]
    #[arg(long, requires = "secureboot_private_key", overrides_with = "no_sign_kernel")]
    pub(crate) sign_kernel: bool,
    /// Leave the kernel in it as it is
    #[arg(long)]
    pub(crate) no_sign_kernel: bool,
    /// Where to write [default: the kernel's name with .efi, .unsigned.efi where it is not signed]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// The sections of a configuration file with a key for PCR signatures.
const PCR_SIGNATURE: &str = "PCRSignature:";

/// What a configuration file says, and the words that it has for nothing here.
pub(crate) struct Config {
    pub(crate) parts: Parts,
    pub(crate) unknown: Vec<String>,
}

impl Config {
    /// As Python's configparser reads it for ukify: sections, KEY = VALUE, further lines of a value further in, comments from #
    /// on, at the start of a line or behind white space.
    ///
    /// # Errors
    /// Which line is none.
    pub(crate) fn read(text: &str) -> Result<Config, String> {
        let mut section = String::new();
        let mut values: Vec<(String, String, String)> = Vec::new();
        let mut may_go_on = false;
        for (number, line) in text.lines().enumerate() {
            let comment = line.match_indices('#').map(|(at, _)| at);
            let mut comment = comment
                .filter(|at| line.get(..*at).is_some_and(|it| it.is_empty() || it.ends_with(char::is_whitespace)));
            let line = comment.next().and_then(|at| line.get(..at)).unwrap_or(line);
            let (is_inner, line) = (line.starts_with(char::is_whitespace), line.trim());
            if line.is_empty() {
                may_go_on &= comment.next().is_some();
                continue;
            }
            if let (true, true, Some((_, _, value))) = (is_inner, may_go_on, values.last_mut()) {
                value.push('\n');
                value.push_str(line);
            } else if let Some(name) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
                (section, may_go_on) = (name.to_owned(), false);
            } else if let (Some((key, value)), false) = (line.split_once('='), section.is_empty()) {
                values.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
                may_go_on = true;
            } else {
                return Err(format!("line {}: {line:?} is neither [SECTION] nor KEY=VALUE in a section", number + 1));
            }
        }
        let (mut parts, mut unknown) = (Parts::default(), Vec::new());
        let words = |value: &str| value.split_whitespace().map(PathBuf::from).collect::<Vec<_>>();
        for (section, key, value) in values {
            let path = || Some(PathBuf::from(&value));
            match (&*section, &*key) {
                ("UKI", "Linux") => parts.linux = path(),
                ("UKI", "OSRelease") => parts.os_release = Some(value),
                ("UKI", "Cmdline") => parts.cmdline = Some(value),
                ("UKI", "Initrd") => parts.initrd = words(&value),
                ("UKI", "Microcode") => parts.microcode = path(),
                ("UKI", "Splash") => parts.splash = path(),
                ("UKI", "DeviceTree") => parts.devicetree = path(),
                ("UKI", "DeviceTreeAuto") => parts.devicetree_auto = words(&value),
                ("UKI", "HWIDs") => parts.hwids = path(),
                ("UKI", "Uname") => parts.uname = Some(value),
                ("UKI", "SBAT") => parts.sbat = vec![value],
                ("UKI", "PCRPKey") => parts.pcrpkey = path(),
                ("UKI", "PCRBanks") => {
                    let banks = value.split([',', ' ']).filter(|word| !word.is_empty()).map(super::measure::bank);
                    parts.pcr_banks = banks.collect::<Result<_, _>>()?;
                }
                (section, "PCRPrivateKey") if section.starts_with(PCR_SIGNATURE) => {
                    parts.pcr_private_key.push(value.into())
                }
                (section, "PCRPublicKey") if section.starts_with(PCR_SIGNATURE) => {
                    parts.pcr_public_key.push(value.into())
                }
                (section, "Phases") if section.starts_with(PCR_SIGNATURE) => parts.phases.push(value),
                ("UKI", "Profile") => parts.profile = Some(value),
                ("UKI", "Stub") => parts.stub = path(),
                ("UKI", "SecureBootPrivateKey") => parts.secureboot_private_key = path(),
                ("UKI", "SecureBootCertificate") => parts.secureboot_certificate = path(),
                ("UKI", "SignKernel") => match &*value.to_lowercase() {
                    "1" | "true" | "yes" | "y" | "t" | "on" => parts.sign_kernel = true,
                    "0" | "false" | "no" | "n" | "f" | "off" => parts.no_sign_kernel = true,
                    _ => return Err(format!("SignKernel={value}: wanted yes or no")),
                },
                _ => unknown.push(format!("[{section}] {key}=")),
            }
        }
        Ok(Config { parts, unknown })
    }
}

impl Parts {
    /// With what a file says, where nothing is given here; its RAM disks come in front.
    pub(crate) fn over(self, file: Parts) -> Parts {
        let both = |mut first: Vec<PathBuf>, second: Vec<PathBuf>| {
            first.extend(second);
            first
        };
        let says_kernel = self.sign_kernel || self.no_sign_kernel;
        Parts {
            config: self.config,
            linux: self.linux.or(file.linux),
            initrd: both(file.initrd, self.initrd),
            cmdline: self.cmdline.or(file.cmdline),
            os_release: self.os_release.or(file.os_release),
            uname: self.uname.or(file.uname),
            splash: self.splash.or(file.splash),
            devicetree: self.devicetree.or(file.devicetree),
            devicetree_auto: both(file.devicetree_auto, self.devicetree_auto),
            hwids: self.hwids.or(file.hwids),
            microcode: self.microcode.or(file.microcode),
            sbat: if self.sbat.is_empty() { file.sbat } else { self.sbat },
            pcrpkey: self.pcrpkey.or(file.pcrpkey),
            pcr_private_key: both(file.pcr_private_key, self.pcr_private_key),
            pcr_public_key: both(file.pcr_public_key, self.pcr_public_key),
            phases: [file.phases, self.phases].concat(),
            pcr_banks: if self.pcr_banks.is_empty() { file.pcr_banks } else { self.pcr_banks },
            section: self.section,
            profile: self.profile.or(file.profile),
            join_profile: self.join_profile,
            stub: self.stub.or(file.stub),
            secureboot_private_key: self.secureboot_private_key.or(file.secureboot_private_key),
            secureboot_certificate: self.secureboot_certificate.or(file.secureboot_certificate),
            sign_kernel: if says_kernel { self.sign_kernel } else { file.sign_kernel },
            no_sign_kernel: if says_kernel { self.no_sign_kernel } else { file.no_sign_kernel },
            output: self.output,
        }
    }
}
