//! `sign`, `pubkey`, and what `fit` has of them.

use super::{Building, TextOutput, hex};
use clap::{Args, ValueEnum};
use kimage::assemble::{External, FitLayout};
use std::path::PathBuf;

/// Who signs.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Signatures")]
pub(crate) struct Signer {
    /// Fill in the signatures with the keys of this folder: NAME.key (RSA) or NAME.pem (ECDSA), as key-name-hint says
    ///
    /// PEM files: PKCS#8, encrypted or not, PKCS#1 or SEC 1. A key that is not there is an error. Images that ask for it (`cipher`)
    /// are encrypted with NAME.bin.
    /// pkcs11:token=LABEL in place of a folder is a token, whose keys are called as key-name-hint says.
    #[arg(short = 'k', long, value_name = "DIR")]
    pub(crate) keys: Option<PathBuf>,
    /// Fill in the signatures with this key, whatever their key-name-hint; NAME=FILE is for those with that hint (repeatable)
    ///
    /// pkcs11:URI in place of a file is a key on a token (RFC 7512): pkcs11:token=LABEL;object=NAME?module-path=FILE. The module may
    /// also stand in PKCS11_MODULE_PATH. The PIN is that of the URI's pin-source or pin-value, else the passphrase.
    #[arg(long, value_name = "[NAME=]FILE", value_parser = key)]
    pub(crate) key: Vec<Key>,
    /// The passphrase of encrypted keys is the first line of this file; without it, the terminal is asked
    #[arg(long, visible_alias = "passphrase", value_name = "FILE")]
    pub(crate) pass_file: Option<PathBuf>,
    /// The passphrase of encrypted keys is the first line of what this open descriptor gives
    #[arg(long, value_name = "NUMBER", conflicts_with = "pass_file")]
    pub(crate) pass_fd: Option<u32>,
    /// Comment of each signature
    #[arg(short = 'c', long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    /// Algorithm of every signature, whatever the source says: sha256,rsa2048 ...
    #[arg(long, value_name = "HASH,KEY")]
    pub(crate) algo: Option<String>,
    /// Put the public keys into this device tree, that of the U-Boot which boots the FIT; it is changed
    ///
    /// A .dtb, an overlay, or a U-Boot with its device tree at the end (u-boot-dtb.bin).
    #[arg(long, value_name = "DTB")]
    pub(crate) control_dtb: Option<PathBuf>,
    /// Make the control device tree anew: an overlay with the public keys, to be applied to U-Boot's
    #[arg(long, requires = "control_dtb")]
    pub(crate) as_overlay: bool,
    /// U-Boot is to demand the signatures of configurations, images, or both; without it the keys are there and demand nothing
    #[arg(long, value_name = "WHAT", value_delimiter = ',', requires = "control_dtb")]
    pub(crate) required: Vec<Required>,
}

/// A key's file, and the `key-name-hint` that it is for.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) name: Option<String>,
    pub(crate) file: PathBuf,
}

#[allow(clippy::unnecessary_wraps, reason = "clap wants it so")]
fn key(text: &str) -> Result<Key, String> {
    // A file of such a name is called ./a=b.
    let named = text.split_once('=').filter(|(name, _)| !name.contains('/') && !name.contains(':'));
    let (name, file) = named.map_or((None, text), |(name, file)| (Some(name.to_owned()), file));
    Ok(Key { name, file: file.into() })
}

/// What U-Boot demands a signature of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Required {
    Conf,
    Image,
}

/// U-Boot, UEFI: a FIT or an EFI program signed, or signed again
///
/// EFI programs (kernels with an EFI stub, unified kernel images, boot loaders) get an Authenticode signature for Secure Boot, as sbsign
/// makes it, but without a time: the same program, key and certificate give the same bytes. --cert names the key's certificate. A
/// signature that is there stays, unless --replace is given; --remove takes all out.
///
/// FITs: fills in every signature of the images and configurations, and their hashes, as mkimage -F -k does, byte for byte: what stands in
/// the tree stays, its time too, and so does data behind the tree. Each node is signed once. The time of the signatures is --time,
/// else SOURCE_DATE_EPOCH, else 0. A warning tells which images of a configuration its signature leaves out.
///
/// Where the keys are elsewhere, --prepare writes what is to be signed into a folder: of each signature the hash (NAME.digest), what
/// the private key works on (NAME.input: of PKCS#1 v1.5 a DigestInfo, else the hash), and all of it with the name of the key in
/// manifest.json. --attach takes NAME.sig from there, checks each with the public key and puts it in.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage sign vmlinuz --key db.key --cert db.pem -o vmlinuz.signed
  kimage sign grubx64.efi --key db.key --cert db.pem --sbat sbat.csv -o grub.signed
  kimage sign vmlinuz.signed --remove                    as it was before, in place
  kimage sign image.itb --keys keys                      in place
  kimage sign image.itb --keys keys -o signed.itb
  kimage sign image.itb --key dev.key --control-dtb u-boot.dtb --required conf
  kimage sign image.itb --key dev=dev.key --key prod=prod.key
  kimage sign image.itb --keys \"pkcs11:token=fit?module-path=/usr/lib/softhsm/libsofthsm2.so\"
  kimage sign image.itb --prepare to-sign                what is to be signed, one file a signature
  openssl pkeyutl -sign -inkey dev.key -pkeyopt digest:sha256 -in to-sign/1-conf-1.signature-1.digest -out to-sign/1-conf-1.signature-1.sig
  kimage sign image.itb --attach to-sign --key dev.pub   what was signed, checked and put in
  kimage verify image.itb --control-dtb u-boot.dtb")]
pub(crate) struct Sign {
    /// The FIT, or the EFI program
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Where to write [default: over the file]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Sign nothing: write what is to be signed into this folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["keys", "key", "control_dtb", "output", "json", "plan"])]
    pub(crate) prepare: Option<PathBuf>,
    /// Put in the signatures of this folder, as --prepare said; --keys or --key has the public keys
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with_all = ["prepare", "time", "layout", "external", "comment", "algo"]
    )]
    pub(crate) attach: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) signer: Signer,
    #[command(flatten)]
    pub(crate) efi: EfiOptions,
    #[command(flatten)]
    pub(crate) placing: Placing,
    /// The bytes of this release of mkimage, 2021.01 to 2026.10, or a year for its last one [default: 2023.01]
    #[arg(long, value_name = "RELEASE", value_parser = layout)]
    pub(crate) layout: Option<FitLayout>,
    /// Time of the signatures in seconds since 1970 [default: SOURCE_DATE_EPOCH, else 0]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) time: Option<u32>,
    /// Go ahead though the FIT contradicts itself
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) building: Building,
}

/// How an EFI program is signed.
#[derive(Debug, Args)]
#[command(next_help_heading = "EFI programs")]
pub(crate) struct EfiOptions {
    /// The certificate of the key, in PEM or DER; others in the file go into the signature, too
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// A further certificate for the signature, as of who issued the key's (repeatable)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) add_cert: Vec<PathBuf>,
    /// The hash that is signed; shim and sbverify know sha256 alone [default: sha256]
    #[arg(long, value_enum, value_name = "HASH", requires = "cert")]
    pub(crate) hash: Option<EfiHash>,
    /// Sign in place of the signatures that are there, not beside them
    #[arg(long, requires = "cert")]
    pub(crate) replace: bool,
    /// Write the sum of all bytes (CheckSum), which no firmware looks at, also where the program has none
    #[arg(long, requires = "cert")]
    pub(crate) checksum: bool,
    /// Add a section .sbat with these lines first, where the program has none: what shim refuses old versions by
    #[arg(long, value_name = "FILE|TEXT", requires = "cert")]
    pub(crate) sbat: Option<String>,
    /// Take all signatures out: the program as it was before, as far as that can be known
    #[arg(long, conflicts_with_all = ["cert", "keys", "key", "prepare", "attach"])]
    pub(crate) remove: bool,
}

/// Hashes of Authenticode signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EfiHash {
    Sha256,
    Sha384,
    Sha512,
}

/// U-Boot: a public key put into the control device tree
///
/// As fdt_add_pubkey does it, from a certificate, a public or a private key, RSA or ECDSA, or from a token (pkcs11:URI for the folder).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kimage pubkey u-boot.dtb --key-dir keys --key-name dev --algo sha256,rsa2048 --required conf -o u-boot-signed.dtb
  kimage pubkey --as-overlay --key-dir keys --key-name dev --algo sha256,rsa2048 --required conf -o keys.dtbo")]
pub(crate) struct Pubkey {
    /// The device tree: a .dtb, an overlay, or a U-Boot with its device tree at the end (u-boot-dtb.bin)
    #[arg(value_name = "DTB", required_unless_present = "as_overlay")]
    pub(crate) dtb: Option<PathBuf>,
    /// Make an overlay with the key, to be applied to U-Boot's device tree
    #[arg(long, conflicts_with = "dtb")]
    pub(crate) as_overlay: bool,
    /// The folder that has the key: NAME.crt, NAME.pub, NAME.key or NAME.pem, the first of them that is there
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) key_dir: PathBuf,
    /// The key's name, which is the key-name-hint of signatures
    #[arg(long, value_name = "NAME")]
    pub(crate) key_name: String,
    /// The algorithm that the key is for: sha256,rsa2048 ...
    #[arg(long, value_name = "HASH,KEY")]
    pub(crate) algo: String,
    /// U-Boot is to demand its signatures of configurations or of images
    #[arg(long, value_name = "WHAT")]
    pub(crate) required: Option<Required>,
    #[command(flatten)]
    pub(crate) output: TextOutput,
}

/// Where the data goes.
#[derive(Debug, Args)]
pub(crate) struct Placing {
    /// Put the data behind the tree instead of into it
    #[arg(short = 'E', long)]
    pub(crate) external: bool,
    /// File offset of the first external data, hexadecimal [default: directly behind the tree]
    #[arg(short = 'p', long, value_name = "HEX", value_parser = hex, requires = "external")]
    pub(crate) position: Option<u64>,
    /// Align external data and the end of the tree, hexadecimal [default: 4; device trees 8 from --layout 2026.04 on]
    #[arg(short = 'B', long, value_name = "HEX", value_parser = alignment, requires = "external")]
    pub(crate) align: Option<kimage::bytes::Align>,
    /// Align each device tree in external data, hexadecimal; wherever the file is loaded aligned, a tree is used where it lies
    #[arg(long, value_name = "HEX", value_parser = alignment, requires = "external")]
    pub(crate) fdt_align: Option<kimage::bytes::Align>,
}

impl Placing {
    pub(crate) fn external(&self) -> Option<External> {
        // As mkimage takes it, 0 is no position.
        let position = self.position.filter(|at| *at > 0);
        self.external.then_some(External { align: self.align, fdt_align: self.fdt_align, position })
    }
}

fn alignment(text: &str) -> Result<kimage::bytes::Align, String> {
    kimage::bytes::Align::new(hex(text)?).ok_or_else(|| "wanted a power of two, hexadecimal".to_owned())
}

pub(super) fn layout(text: &str) -> Result<FitLayout, String> {
    text.parse().map_err(str::to_owned)
}
