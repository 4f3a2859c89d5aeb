//! `measure`.

use clap::Args;
use kimage::assemble::Algorithm;
use std::path::PathBuf;

/// UEFI: what the TPM's registers (PCRs) come to when a unified kernel image boots
///
/// Register 11, which the image's own sections make, for each profile and for each phase of a boot, as systemd-measure calculates it;
/// register 4 of the programs that the firmware starts; registers 12 and 13 of what the stub takes from outside: command line, addons,
/// credentials, extensions; register 9 of a RAM disk from outside, where the stub is kimage's own. The order of the sections is read from
/// the stub in the image, since it has changed between the releases of systemd. What is not known is an error, never a guess.
///
/// Of a bzImage around kimage's own boot stub registers 4 and 9: the load options (--cmdline, as UTF-16 with a zero, as boot loaders
/// pass them) and the RAM disk from outside. Of any other EFI program register 4 alone.
///
/// --json has the banks as systemd-measure --json has them; phases, profiles and registers stand with each value. The values are those
/// of a machine on which nothing else extends these registers (a boot loader's own measurements, SMBIOS strings).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage measure linux.efi --bank sha256
  kimage measure linux.efi --bank sha256 --phase enter-initrd --explain
  kimage measure linux.efi --pcr 4 --loader shimx64.efi --loader systemd-bootx64.efi
  kimage measure linux.efi --pcr 12 --cmdline '@1 quiet' --addon debug.addon.efi --credential root.cred
  kimage measure own.efi --pcr 9 --initrd initrd.img
  kimage measure bzImage --cmdline 'root=/dev/vda1 quiet' --initrd initrd.img     one that kimage bzimage has made
  kimage measure linux.efi --sign pcr.key -o signed.efi          then: kimage sign signed.efi --key db.key --cert db.pem
  kimage measure linux.efi --json | jq -r '.sha256[] | select(.phase == \"enter-initrd\").hash'")]
pub(crate) struct Measure {
    /// The unified kernel image, or another EFI program
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The banks of registers: sha1, sha256, sha384, sha512 [default: all of them]
    #[arg(long, value_name = "HASH", value_delimiter = ',', value_parser = bank)]
    pub(crate) bank: Vec<Algorithm>,
    /// The registers: 4, 9, 11, 12, 13 [default: 11, and those about which something is said]
    #[arg(long, value_name = "NUMBER", value_delimiter = ',')]
    pub(crate) pcr: Vec<u32>,
    /// Up to which phase: words with colons between them, `:` for none (repeatable) [default: systemd's four]
    #[arg(long, value_name = "WORDS")]
    pub(crate) phase: Vec<String>,
    /// The profile that is booted, from 0 [default: all of them]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) profile: Option<usize>,
    /// The release of systemd whose stub it is, whatever the image says: 252 to 262
    #[arg(long, value_name = "NUMBER")]
    pub(crate) stub_version: Option<u32>,
    /// Secure Boot is on
    #[arg(long)]
    pub(crate) secure_boot: bool,
    /// Print each extension of a register, in order
    #[arg(long)]
    pub(crate) explain: bool,
    #[command(flatten)]
    pub(crate) outside: Outside,
    #[command(flatten)]
    pub(crate) signing: Signing,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// Signatures of what register 11 comes to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Signatures")]
pub(crate) struct Signing {
    /// Sign what register 11 comes to with this key, and put that into the image: .pcrsig and .pcrpkey, as ukify does (repeatable)
    ///
    /// RSA; a PEM file, or pkcs11:URI for a key on a token. systemd unseals secrets that are bound to such signatures. An image
    /// that is signed for Secure Boot is refused: that signature comes last.
    #[arg(long, value_name = "KEY", conflicts_with_all = ["json", "explain", "pcr", "profile", "secure_boot", "outside"])]
    pub(crate) sign: Vec<PathBuf>,
    /// The passphrase of encrypted keys is the first line of this file; without it, the terminal is asked
    #[arg(long, value_name = "FILE", requires = "sign")]
    pub(crate) pass_file: Option<PathBuf>,
    /// Where to write [default: over the image]
    #[arg(short, long, value_name = "FILE", requires = "sign")]
    pub(crate) output: Option<PathBuf>,
    /// Write the file and its folder through to the disk before reporting success
    #[arg(long, requires = "sign")]
    pub(crate) sync: bool,
    /// Say nothing but errors
    #[arg(short, long, requires = "sign")]
    pub(crate) quiet: bool,
}

/// What the stub takes besides the image.
#[derive(Debug, Args)]
#[group(id = "outside")]
#[command(next_help_heading = "From outside of the image")]
pub(crate) struct Outside {
    /// The command line that the boot loader gives; `@N` in front chooses a profile
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) cmdline: Option<String>,
    /// An EFI program that is started before it (repeatable, in their order)
    #[arg(long, value_name = "FILE")]
    pub(crate) loader: Vec<PathBuf>,
    /// The RAM disk that the boot loader offers, or the files that `initrd=` names, in their order (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Vec<PathBuf>,
    /// NAME.efi.extra.d/*.addon.efi (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) addon: Vec<PathBuf>,
    /// /loader/addons/*.addon.efi (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) global_addon: Vec<PathBuf>,
    /// NAME.efi.extra.d/*.cred (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) credential: Vec<PathBuf>,
    /// /loader/credentials/*.cred (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) global_credential: Vec<PathBuf>,
    /// NAME.efi.extra.d/*.raw, system extensions (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) sysext: Vec<PathBuf>,
    /// NAME.efi.extra.d/*.confext.raw, configuration extensions (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) confext: Vec<PathBuf>,
    /// /loader/extensions/*.raw, system extensions (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) global_sysext: Vec<PathBuf>,
    /// /loader/extensions/*.confext.raw, configuration extensions (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) global_confext: Vec<PathBuf>,
}

pub(super) fn bank(text: &str) -> Result<Algorithm, String> {
    let banks = [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];
    let bank = banks.into_iter().find(|bank| bank.name() == text.to_ascii_lowercase());
    bank.ok_or_else(|| "wanted sha1, sha256, sha384 or sha512".to_owned())
}
