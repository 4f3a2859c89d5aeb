//! Disks to start from: a kernel, or several, on a floppy, a disk or a CD.
//!
//! What starts them. A BIOS reads kimage's boot sector, which loads the first bzImage by the boot protocol, with command line and
//! RAM disk. UEFI firmware starts `EFI/BOOT/BOOT….EFI` of its CPU, and passes it nothing: a kernel that is started so has to have
//! its command line and RAM disk in it. x86 kernels are wrapped with kimage's boot stub for that, of which a BIOS then gets the
//! same file; or a boot loader (systemd-boot) is put there, which finds both in entries of the Boot Loader Specification.

use super::{Assembled, Facts, StandaloneRequest, Step, bzimage_standalone};
use crate::arch::Arch;
use crate::bytes::{count64, len64};
use crate::codec::Codec;
use crate::error::Result;
use crate::format::bzimage::{BzImage, Setup, joined};
use crate::format::disk::fat::{self, Layout, Shape};
use crate::format::disk::gpt::{self, Partition};
use crate::format::disk::iso::{self, Disc};
use crate::format::disk::{BLOCK, Error, FLOPPY_LOADER, File, SECTOR, Tree};
use crate::format::pe::{Pe, removable_name};
use crate::format::{Format, header_arch};
use crate::layout::{Plan, RegionKind, Reserver, usize_or_max};
use crate::stub::cmdline;
use crate::stub::disk::{CMDLINE_MAX, DiskLoader, Loaded, no_loader};
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// What kind of disk to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DiskKind {
    /// An EFI system partition by itself: a FAT file system for UEFI firmware.
    Esp,
    /// A disk with a GUID partition table, for UEFI firmware and BIOS.
    Gpt,
    /// A CD, for UEFI firmware and BIOS.
    Iso,
    /// A floppy of 1.44 MB, for BIOS.
    Floppy144,
    /// A CD that is a disk with a GUID partition table, too.
    Hybrid,
}

/// A file with its name.
#[derive(Debug, Clone)]
pub struct DiskFile<'a> {
    /// Its name; of a file to add, its path on the disk, with `/` between folders.
    pub name: String,
    /// What is in it.
    pub data: &'a [u8],
}

/// What to make of a disk.
#[derive(Debug, Clone)]
pub struct DiskRequest<'a> {
    /// What kind.
    pub kind: DiskKind,
    /// RAM disks, one behind the other.
    pub initrd: Vec<&'a [u8]>,
    /// The kernel's command line.
    pub cmdline: &'a [u8],
    /// A boot loader for UEFI that reads entries of the Boot Loader Specification; several, for several CPUs.
    pub loader: Vec<&'a [u8]>,
    /// Files to add.
    pub add: Vec<DiskFile<'a>>,
    /// Bytes of the file system of [`DiskKind::Esp`], and of the disk of [`DiskKind::Gpt`]; as large as needed by default.
    pub size: Option<u64>,
    /// The time of its files, in seconds since 1970.
    pub time: u32,
    /// Bytes of a sector of the disk that [`DiskKind::Esp`] and [`DiskKind::Gpt`] are for: 512, or 4096, from which no BIOS starts.
    pub sector_size: u32,
}

/// Where partitions of disks begin, in bytes.
const ALIGNMENT: u64 = 1 << 20;
/// Where the loader is on such a disk, in sectors of 512 bytes; the bytes in front of it are a unit in which tools count.
const LOADER_AT: u64 = 64;
/// Room for what firmware writes.
const FREE: u64 = 1 << 20;
/// The names on a floppy.
const FLOPPY_NAMES: [&str; 3] = [FLOPPY_LOADER, "VMLINUZ", "INITRD"];

/// A disk from which a machine starts one of these kernels.
///
/// # Errors
/// [`Error::Disk`](crate::Error::Disk) for what no such disk starts or has room for, and as [`bzimage_standalone`].
///
/// # Example
///
/// ```
/// use kimage::assemble::{DiskFile, DiskKind, DiskRequest, disk};
///
/// let kernel = DiskFile { name: "vmlinux".to_owned(), data: include_bytes!("../../testdata/tiny/kernel") };
/// let floppy = disk(&[kernel], &DiskRequest::from(DiskKind::Floppy144))?;
/// assert_eq!(floppy.plan.len(), 1440 << 10);
/// # Ok::<(), kimage::Error>(())
/// ```
pub fn disk<'a>(images: &[DiskFile<'a>], request: &DiskRequest<'a>) -> Result<Assembled<'a>> {
    let is_large = match (request.sector_size, request.kind) {
        (512, _) => false,
        (4096, DiskKind::Esp | DiskKind::Gpt) => true,
        (size, _) => return Err(Error::SectorSize { size }.into()),
    };
    let mut steps = Vec::new();
    let images = images.iter().map(|image| prepared(image, request, &mut steps)).collect::<Result<Vec<_>>>()?;
    let mut disk = Contents { efi: Vec::new(), files: Vec::new(), bios: None };
    match request.kind {
        DiskKind::Floppy144 => disk.floppy(images, request)?,
        _ => disk.efi(images, request)?,
    }
    if is_large {
        disk.bios = None;
    }
    let entries = disk.files.len() + request.add.len();
    disk.files.extend(request.add.iter().map(|file| one(&file.name, file.data)));
    let facts = Facts::Disk {
        kind: request.kind,
        bios: disk.bios.is_some() && request.kind != DiskKind::Esp,
        efi: disk.efi.clone(),
        files: entries,
    };
    let plan = disk.plan(request)?;
    Ok(Assembled { steps, ..Assembled::new(plan, facts) })
}

/// A disk of this kind, with nothing but kernels.
impl From<DiskKind> for DiskRequest<'_> {
    fn from(kind: DiskKind) -> Self {
        DiskRequest {
            kind,
            initrd: Vec::new(),
            cmdline: &[],
            loader: Vec::new(),
            add: Vec::new(),
            size: None,
            time: 0,
            sector_size: 512,
        }
    }
}

/// A file in one piece.
fn one<'a>(path: &str, data: impl Into<Cow<'a, [u8]>>) -> File<'a> {
    File { path: path.to_owned(), data: vec![data.into()] }
}

/// An image as it goes on the disk.
struct Prepared<'a> {
    name: String,
    data: Cow<'a, [u8]>,
    /// Its name as what UEFI firmware starts.
    efi: Option<&'static str>,
    /// A bzImage that our loader for BIOS can load.
    is_for_bios: bool,
}

/// `EFI/BOOT`'s name for a program for UEFI.
fn efi_name(data: &[u8]) -> Option<&'static str> {
    let pe = Pe::parse(data).ok().filter(|pe| !pe.is_for_windows())?;
    removable_name(pe.value("Machine"))
}

fn is_for_bios(data: &[u8]) -> bool {
    /// The first with a pointer to the command line.
    const OLDEST: u16 = 0x202;
    Format::detect(data) == Some(Format::BzImage)
        && BzImage::parse(data).is_ok_and(|image| image.setup().is_loaded_high() && image.setup().has(OLDEST))
}

fn prepared<'a>(image: &DiskFile<'a>, request: &DiskRequest<'a>, steps: &mut Vec<Step>) -> Result<Prepared<'a>> {
    let is_floppy = request.kind == DiskKind::Floppy144;
    let carries = !(request.initrd.is_empty() && request.cmdline.is_empty());
    let name = image.name.clone();
    let (efi, bios) = (efi_name(image.data), is_for_bios(image.data));
    let is_ready = if is_floppy { bios } else { efi.is_some() };
    if is_ready && (is_floppy || !carries || !request.loader.is_empty()) {
        return Ok(Prepared { name, data: Cow::Borrowed(image.data), efi, is_for_bios: bios });
    }
    let is_x86 = header_arch(image.data).is_some_and(|(arch, _)| matches!(arch, Arch::X86 | Arch::X86_64));
    if !is_x86 {
        let found = super::describe(image.data);
        if is_ready {
            return Err(Error::Carries { image: name, found }.into());
        }
        let (why, help) = match is_floppy {
            true => ("a BIOS starts x86 kernels alone", "give a bzImage or an x86 vmlinux"),
            false => (
                "neither UEFI firmware nor a BIOS starts it",
                "give a kernel with an EFI stub (CONFIG_EFI_STUB), EFI zboot or a unified kernel image; of x86 any bzImage or vmlinux",
            ),
        };
        return Err(Error::NotStarted { image: name, found, why, help }.into());
    }
    // A boot loader or a BIOS passes them.
    let is_whole = !is_floppy && request.loader.is_empty();
    let own = StandaloneRequest {
        codec: packed_by(image.data).unwrap_or(Codec::Gzip),
        cmdline: if is_whole { request.cmdline } else { &[] },
        initrd: if is_whole { request.initrd.clone() } else { Vec::new() },
        max_memory: 4 << 30,
        ..StandaloneRequest::default()
    };
    let data = bzimage_standalone(image.data, &own)?.plan.bytes();
    let how = match is_whole && carries {
        true => "wrapped with kimage's boot stub, with command line and RAM disk in it",
        false => "wrapped with kimage's boot stub",
    };
    steps.push(Step { file: name.clone(), size: len64(&data), how: how.to_owned() });
    Ok(Prepared { name, efi: efi_name(&data), is_for_bios: is_for_bios(&data), data: Cow::Owned(data) })
}

/// The codec of a bzImage's kernel, where our stub has it.
fn packed_by(image: &[u8]) -> Option<Codec> {
    let image = BzImage::parse(image).ok()?;
    let codec = Codec::identify(image.payload()?).ok()?;
    matches!(codec, Codec::Gzip | Codec::Xz | Codec::Zstd | Codec::Lz4Legacy).then_some(codec)
}

/// What goes on a disk.
struct Contents<'a> {
    /// The names in EFI/BOOT.
    efi: Vec<String>,
    files: Vec<File<'a>>,
    bios: Option<Bios>,
}

/// What our loader for BIOS is to load: files, by their index.
struct Bios {
    loader: DiskLoader,
    loaded: Loaded,
    kernel: usize,
    initrd: Option<usize>,
    /// Where the loader is, when it is a file.
    own: Option<usize>,
}

impl<'a> Contents<'a> {
    fn floppy(&mut self, images: Vec<Prepared<'a>>, request: &DiskRequest<'a>) -> Result<()> {
        let mut images = images.into_iter();
        let Some(image) = images.next() else { return Ok(()) };
        if let Some(other) = images.next() {
            let (why, help) = ("a floppy starts one kernel", "give one kernel");
            return Err(Error::NotStarted { image: other.name, found: super::describe(&other.data), why, help }.into());
        }
        let [own, kernel, initrd] = FLOPPY_NAMES;
        self.files.push(one(own, Vec::new()));
        self.files.push(one(kernel, image.data));
        let disk = self.add_initrd(initrd, request);
        self.set_bios(1, disk, request.cmdline)?;
        if let (Some(bios), Some(file)) = (&mut self.bios, self.files.first_mut()) {
            file.data = vec![Cow::Owned(bios.loader.loader(&bios.loaded))];
            bios.own = Some(0);
        }
        Ok(())
    }

    /// The RAM disks as one file, if there are any.
    fn add_initrd(&mut self, path: &str, request: &DiskRequest<'a>) -> Option<usize> {
        const ZEROS: &[u8] = &[0; 3];
        if request.initrd.is_empty() {
            return None;
        }
        let mut data = Vec::new();
        for (disk, padding) in joined(&request.initrd).pieces {
            data.push(Cow::Borrowed(disk));
            data.push(Cow::Borrowed(ZEROS.get(..usize_or_max(padding)).unwrap_or_default()));
        }
        self.files.push(File { path: path.to_owned(), data });
        Some(self.files.len() - 1)
    }

    /// Has our loader start the bzImage that is this file.
    fn set_bios(&mut self, kernel: usize, initrd: Option<usize>, cmdline: &[u8]) -> Result<()> {
        let image = self.files.get(kernel).and_then(|file| file.data.first()).map_or(&[][..], |data| data);
        let setup = Setup::parse(image).map_err(Error::Field)?;
        let header = setup.header();
        let most = setup.line_len().min(CMDLINE_MAX) - 1;
        if len64(cmdline) > most {
            return Err(Error::CommandLine { len: len64(cmdline), most }.into());
        }
        /// Where it is loaded, and to where a RAM disk may reach where the setup does not say (boot.rst).
        const LOADED_AT: u64 = 1 << 20;
        const INITRD_MAX: u64 = 0x37ff_ffff;
        let loaded_end = LOADED_AT + len64(image).saturating_sub(setup.padded_len());
        let runs_to = match setup.has(0x20a) {
            true => LOADED_AT.max(header.pref_address.get()).saturating_add(header.init_size.get().into()),
            false => 0,
        };
        let memory_end = loaded_end.max(runs_to);
        let said = if setup.has(0x203) { header.initrd_addr_max.get().into() } else { INITRD_MAX };
        // A kernel that is told of less memory does not find what is behind it.
        let told = cmdline::values(cmdline, b"mem=").filter_map(cmdline::size).min().unwrap_or(u64::MAX);
        let initrd_max = said.min(told.saturating_sub(1)).min(i32::MAX as u64);
        let len = |index: usize| self.files.get(index).map_or(0, File::len);
        let low = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let loaded = Loaded {
            kernel: (0, low(len(kernel))),
            setup: low(setup.padded_len()),
            memory_end: low(memory_end),
            initrd: (0, low(initrd.map_or(0, len))),
            initrd_max: low(initrd_max),
        };
        let loader = DiskLoader::new(cmdline, memory_end, initrd.map_or(0, len)).map_err(Error::Loader)?;
        self.bios = Some(Bios { loader, loaded, kernel, initrd, own: None });
        Ok(())
    }

    /// `EFI/BOOT/BOOT….EFI`, one for each CPU.
    fn add_efi(&mut self, name: &str, of: &str, data: Cow<'a, [u8]>) -> Result<usize> {
        let name = format!("BOOT{name}");
        if self.efi.contains(&name) {
            let why = "there is another for this CPU, and UEFI firmware starts one";
            let help = "give one kernel for each CPU, or a boot loader that lets choose, with `request.loader`";
            return Err(Error::NotStarted { image: of.to_owned(), found: super::describe(&data), why, help }.into());
        }
        self.files.push(one(&format!("EFI/BOOT/{name}"), data));
        self.efi.push(name);
        Ok(self.files.len() - 1)
    }

    fn efi(&mut self, images: Vec<Prepared<'a>>, request: &DiskRequest<'a>) -> Result<()> {
        if request.loader.is_empty() {
            let mut first = None;
            for image in images {
                let bios = image.is_for_bios;
                let Some(name) = image.efi else { continue };
                let index = self.add_efi(name, &image.name, image.data)?;
                first = first.or(Some(index).filter(|_| bios));
            }
            return first.map_or(Ok(()), |index| self.set_bios(index, None, &[]));
        }
        for loader in &request.loader {
            let Some(name) = efi_name(loader) else {
                let (why, help) =
                    ("it is no program for UEFI", "give systemd-boot of the machine's CPU: systemd-bootx64.efi");
                let image = "the boot loader".to_owned();
                return Err(Error::NotStarted { image, found: super::describe(loader), why, help }.into());
            };
            self.add_efi(name, "the boot loader", Cow::Borrowed(*loader))?;
        }
        let mut entries = Vec::new();
        let mut first = None;
        let mut names: Vec<String> = Vec::new();
        for image in images {
            let name = free_name(&image.name, &names);
            names.push(name.clone());
            if Format::detect(&image.data) == Some(Format::Uki) {
                // Found without an entry, by its name.
                self.files.push(one(&format!("EFI/Linux/{name}.efi"), image.data));
                continue;
            }
            let title = title(&image.data).unwrap_or_else(|| name.clone());
            let (arch, is_for_bios) = (image.efi, image.is_for_bios);
            self.files.push(one(&name, image.data));
            first = first.or(Some(self.files.len() - 1).filter(|_| is_for_bios));
            entries.push((name, title, arch));
        }
        let initrd = self.add_initrd("initrd", request);
        let default = entries.first().map(|(name, ..)| format!("default {name}.conf\n")).unwrap_or_default();
        self.files.push(one("loader/loader.conf", format!("{default}timeout 3\n").into_bytes()));
        for (name, title, arch) in entries {
            let mut entry = format!("title {title}\nlinux /{name}\n").into_bytes();
            if initrd.is_some() {
                entry.extend(b"initrd /initrd\n");
            }
            if !request.cmdline.is_empty() {
                entry.extend([b"options ", request.cmdline, b"\n"].concat());
            }
            if let Some(arch) = arch.and_then(|name| name.strip_suffix(".EFI")) {
                entry.extend(format!("architecture {}\n", arch.to_lowercase()).into_bytes());
            }
            self.files.push(one(&format!("loader/entries/{name}.conf"), entry));
        }
        first.map_or(Ok(()), |index| self.set_bios(index, initrd, request.cmdline))
    }

    /// What names the disk and its partitions: two are the same where all that is in them is.
    fn hash(&self) -> Sha256 {
        let mut hash = Sha256::new();
        for file in &self.files {
            hash.update(count64(file.path.len()).to_le_bytes());
            hash.update(file.path.as_bytes());
            hash.update(file.len().to_le_bytes());
            file.data.iter().for_each(|piece| hash.update(piece));
        }
        hash
    }

    /// Tells the loader where its files are, on a disk on which the file system begins at byte `start`.
    fn place(&mut self, layout: &Layout, start: u64) {
        let Some(bios) = &mut self.bios else { return };
        let lba = |index: usize| u32::try_from((start + layout.file(index).start) / SECTOR).unwrap_or(u32::MAX);
        bios.loaded.initrd.0 = bios.initrd.map_or(0, lba);
        bios.loaded.kernel.0 = lba(bios.kernel);
        if let Some(file) = bios.own.and_then(|own| self.files.get_mut(own)) {
            file.data = vec![Cow::Owned(bios.loader.loader(&bios.loaded))];
        }
    }

    fn plan(mut self, request: &DiskRequest<'_>) -> Result<Plan<'a>> {
        let tree = Tree::of(self.files.iter().map(|file| &*file.path))?;
        let kind = request.kind;
        let sector = u64::from(request.sector_size);
        // Tools like partitions to end where a 32-KiB block does; a CD is full to its last block.
        let unit = if kind == DiskKind::Gpt { LOADER_AT * SECTOR / sector } else { 1 };
        let alignment = ALIGNMENT / sector;
        let behind = if kind == DiskKind::Gpt { alignment + gpt::table(sector) + unit } else { 0 };
        let shape = match (kind, request.size) {
            (DiskKind::Floppy144, _) => Shape::FLOPPY,
            (DiskKind::Esp | DiskKind::Gpt, Some(size)) => {
                let inside = (size / sector).saturating_sub(behind);
                Shape::of_size(inside, &self.files, &tree, sector)
                    .map_err(|error| error.around(behind * sector, size))?
            }
            (DiskKind::Esp | DiskKind::Gpt, None) => Shape::for_files(&self.files, &tree, FREE, sector)?,
            _ => Shape::for_files(&self.files, &tree, 0, sector)?,
        };
        let layout = Layout::new(shape, &self.files, &tree)?;
        let hash = self.hash();
        let id = |what: &[u8]| gpt::id_of(&hash.clone().chain_update(what).finalize());
        let serial = id(b"FAT").first_chunk().copied().map_or(0, u32::from_le_bytes);
        let options = fat::Options { boot: &no_loader(), hidden: 0, id: serial, time: request.time };
        if matches!(kind, DiskKind::Esp | DiskKind::Floppy144) {
            self.place(&layout, 0);
            let own = self.bios.as_ref().and_then(|bios| Some((bios, layout.file(bios.own?))));
            let lba = |start: u64| u32::try_from(start / SECTOR).unwrap_or(u32::MAX);
            let boot = own.map(|(bios, at)| bios.loader.sector(lba(at.start)));
            let boot = boot.as_deref().unwrap_or(options.boot);
            return Ok(fat::plan(&layout, self.files, &tree, &fat::Options { boot, ..options })?);
        }
        let esp = |first: u64| Partition {
            kind: gpt::EFI_SYSTEM,
            id: id(b"EFI"),
            name: "EFI system partition",
            first,
            last: (first + shape.total).next_multiple_of(unit) - 1,
        };
        if kind == DiskKind::Gpt {
            let sectors = request
                .size
                .map_or((alignment + shape.total).next_multiple_of(unit) + gpt::table(sector), |size| size / sector);
            self.place(&layout, ALIGNMENT);
            let (boot, loader) = self.boot_code(LOADER_AT);
            let mut partitions = vec![esp(alignment)];
            if !loader.is_empty() {
                let last = LOADER_AT + (len64(&loader) / SECTOR).next_multiple_of(unit) - 1;
                let (kind, name) = (gpt::BIOS_BOOT, "BIOS boot partition");
                partitions.push(Partition { kind, id: id(b"BIOS"), name, first: LOADER_AT, last });
            }
            let (front, back) = gpt::tables(&partitions, &id(b"disk"), sectors, sector);
            let mut out = Reserver::new();
            partition_table(&mut out, gpt::protective(&boot, sectors, sector), front)?;
            out.fill_to("partition table", LOADER_AT * SECTOR, 0)?;
            add(&mut out, "BIOS boot partition", loader, RegionKind::Code)?;
            out.fill_to("loader", ALIGNMENT, 0)?;
            let options = fat::Options { hidden: alignment, ..options };
            append(&mut out, fat::plan(&layout, self.files, &tree, &options)?)?;
            out.fill_to("file system", (sectors - gpt::table(sector)) * sector, 0)?;
            add(&mut out, "backup partition table", back, RegionKind::Header)?;
            return Ok(out.finish());
        }
        self.cd(request, &layout, &tree, options, &esp, &id(b"disk"))
    }

    fn cd(
        mut self,
        request: &DiskRequest<'_>,
        layout: &Layout,
        tree: &Tree,
        options: fat::Options<'_>,
        esp: &dyn Fn(u64) -> Partition,
        id: &gpt::Guid,
    ) -> Result<Plan<'a>> {
        let blank =
            Disc { tree, files: vec![0..0; self.files.len()], bios: None, efi: 0..0, len: 0, time: request.time };
        let boot_at = iso::SYSTEM_AREA * BLOCK + len64(&blank.front());
        let code = self.bios.as_ref().map_or(0, |bios| BLOCK + bios.loader.len().next_multiple_of(BLOCK));
        let fat_at = boot_at + code;
        self.place(layout, fat_at);
        let (boot, loader) = self.boot_code((boot_at + BLOCK) / SECTOR);
        let fat_end = fat_at + layout.shape.total * SECTOR;
        let is_hybrid = request.kind == DiskKind::Hybrid;
        let table = if is_hybrid { gpt::table(SECTOR) * SECTOR } else { 0 };
        let len = (fat_end + table).next_multiple_of(BLOCK);
        let at = |index| {
            let at = layout.file(index);
            fat_at + at.start..fat_at + at.end
        };
        let disc = Disc {
            files: (0..self.files.len()).map(at).collect(),
            bios: self.bios.as_ref().map(|_| boot_at..fat_at),
            efi: fat_at..fat_end,
            len,
            ..blank
        };
        let mut out = Reserver::new();
        let (front, back) = gpt::tables(&[esp(fat_at / SECTOR)], id, len / SECTOR, SECTOR);
        if is_hybrid {
            partition_table(&mut out, gpt::protective(&boot, len / SECTOR, SECTOR), front)?;
        }
        out.fill_to("partition table", iso::SYSTEM_AREA * BLOCK, 0)?;
        add(&mut out, "ISO 9660", disc.front(), RegionKind::Header)?;
        if !loader.is_empty() {
            let start = out.at();
            out.bytes(boot)?;
            out.fill_to("boot sector", boot_at + BLOCK, 0)?;
            out.bytes(loader)?;
            out.fill_to("loader", fat_at, 0)?;
            out.region("loader", start, RegionKind::Code);
        }
        let options = fat::Options { hidden: if is_hybrid { fat_at / SECTOR } else { 0 }, ..options };
        append(&mut out, fat::plan(layout, self.files, tree, &options)?)?;
        out.fill_to("file system", len - table, 0)?;
        if is_hybrid {
            add(&mut out, "backup partition table", back, RegionKind::Header)?;
        }
        Ok(out.finish())
    }

    /// The boot sector, and the loader that it reads from this sector on; an empty one where there is none.
    fn boot_code(&self, lba: u64) -> (Vec<u8>, Vec<u8>) {
        match &self.bios {
            Some(bios) => {
                let lba = u32::try_from(lba).unwrap_or(u32::MAX);
                (bios.loader.sector(lba), bios.loader.loader(&bios.loaded))
            }
            None => (no_loader(), Vec::new()),
        }
    }
}

fn add<'a>(out: &mut Reserver<'a>, name: &'static str, bytes: Vec<u8>, kind: RegionKind) -> Result<()> {
    let start = out.at();
    out.bytes(bytes)?;
    out.region(name, start, kind);
    Ok(())
}

fn partition_table(out: &mut Reserver<'_>, record: Vec<u8>, front: Vec<u8>) -> Result<()> {
    add(out, "master boot record", record, RegionKind::Code)?;
    add(out, "partition table", front, RegionKind::Header)
}

/// Adds a file system with its regions.
fn append<'a>(out: &mut Reserver<'a>, plan: Plan<'a>) -> Result<()> {
    let start = out.at();
    out.append(&plan)?;
    out.regions_of(&plan, start);
    Ok(())
}

/// A name for a kernel in the root folder, as short as its own: letters, digits and `._-`.
fn free_name(name: &str, taken: &[String]) -> String {
    const OTHERS: [&str; 3] = ["initrd", "loader", "EFI"];
    let one = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = name.chars().map(one).take(64).collect();
    let name = name.trim_matches('.').to_owned();
    let name = if name.is_empty() { "kernel".to_owned() } else { name };
    let is_free = |name: &String| {
        let same = |other: &str| other.eq_ignore_ascii_case(name);
        !taken.iter().any(|other| same(other)) && !OTHERS.into_iter().any(same)
    };
    if is_free(&name) {
        return name;
    }
    (2_u32..).map(|number| format!("{name}-{number}")).find(is_free).unwrap_or(name)
}

/// "Linux 6.1.0", where the image says so.
fn title(image: &[u8]) -> Option<String> {
    let setup = Setup::parse(image).ok()?;
    setup.release_numbers()?;
    let release = setup.release()?;
    let is_plain = release.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then(|| format!("Linux {release}"))
}
