//! The writer: sizes first, then offsets, then bytes. Blocks and strings lie as dtc and libfdt put them.

use super::{
    COMPATIBLE, Dtb, FDT_MAGIC, HEADER_LEN, MAX_DEPTH, Node, Property, RESERVATION_LEN, RawHeader, VERSION, token,
};
use crate::bytes::{count64, len64};
use crate::layout::{self, Plan, RegionKind, Reserver};
use miette::Diagnostic;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use zerocopy::IntoBytes;

/// Memory that the boot program must leave alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// Physical address.
    pub address: u64,
    /// Bytes.
    pub size: u64,
}

/// The tree cannot be written.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// A field of the header has 32 bits.
    #[error("the device tree has {size} bytes, a blob can hold {max}", max = u32::MAX)]
    #[diagnostic(help("leave the data outside of the tree (external data, `request.external`)"))]
    TooLarge {
        /// Bytes.
        size: u64,
    },
    /// More nodes in nodes than are read back.
    #[error("a node lies deeper than {max} nodes", max = MAX_DEPTH)]
    #[diagnostic(help("flatten the tree"))]
    TooDeep,
    /// A name that ends the name, or parts a path.
    #[error("{name:?} cannot be the name of a node or property")]
    #[diagnostic(help("a name is text without slash and zero byte"))]
    Name {
        /// The name.
        name: String,
    },
    /// The layout did not come out.
    #[error(transparent)]
    Layout(#[from] layout::Error),
}

/// The strings block: property names, each once. A name that ends another shares its bytes, as in dtc
/// (`stringtable_insert`) and libfdt (`fdt_find_string_`).
#[derive(Debug, Clone, Default)]
pub struct Strings {
    bytes: Vec<u8>,
    known: HashMap<String, u32>,
}

impl Strings {
    /// The names of a blob, which stay where they are.
    pub(crate) fn of(dtb: &Dtb<'_>) -> Strings {
        Strings { bytes: dtb.names().to_vec(), known: HashMap::new() }
    }

    /// Where `name` stands; it is added at the end when it is not there.
    ///
    /// # Errors
    /// [`Error::Name`] for a name with a zero byte, [`Error::TooLarge`] past 4 GiB.
    pub(crate) fn insert(&mut self, name: &str) -> Result<u32, Error> {
        if let Some(at) = self.known.get(name) {
            return Ok(*at);
        }
        if name.contains('\0') {
            return Err(Error::Name { name: name.to_owned() });
        }
        let ended = [name.as_bytes(), &[0]].concat();
        let at = memchr::memmem::find(&self.bytes, &ended).unwrap_or_else(|| {
            let end = self.bytes.len();
            self.bytes.extend_from_slice(&ended);
            end
        });
        let at = u32::try_from(at).map_err(|_| Error::TooLarge { size: len64(&self.bytes) })?;
        self.known.insert(name.to_owned(), at);
        Ok(at)
    }

    /// Adds the names of a node and all that is in it, in the order in which dtc meets them.
    ///
    /// # Errors
    /// As [`Strings::insert`]; [`Error::TooDeep`].
    pub fn insert_all(&mut self, root: &Node<'_>) -> Result<(), Error> {
        walk(root, &mut |step| match step {
            Step::Property(property) => self.insert(&property.name).map(|_| ()),
            Step::Begin(_) | Step::End => Ok(()),
        })
    }

    /// The names of a tree as libfdt's sequential writer leaves them: the last new one stands in front (fdt_sw.c,
    /// `fdt_find_add_string_`).
    ///
    /// # Errors
    /// As [`Strings::insert_all`].
    pub(crate) fn written(root: &Node<'_>) -> Result<Strings, Error> {
        let mut strings = Strings::default();
        // How far from the end of the block each stands, which does not change.
        let mut behind: HashMap<String, usize> = HashMap::new();
        walk(root, &mut |step| {
            let Step::Property(property) = step else { return Ok(()) };
            if behind.contains_key(&*property.name) {
                return Ok(());
            }
            let mut alone = Strings::default();
            alone.insert(&property.name)?;
            let at = memchr::memmem::find(&strings.bytes, &alone.bytes).unwrap_or_else(|| {
                strings.bytes.splice(0..0, alone.bytes);
                0
            });
            behind.insert(property.name.to_string(), strings.bytes.len() - at);
            Ok(())
        })?;
        for (name, behind) in behind {
            let at = u32::try_from(strings.bytes.len() - behind);
            strings.known.insert(name, at.map_err(|_| Error::TooLarge { size: len64(&strings.bytes) })?);
        }
        Ok(strings)
    }

    /// The block.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A tree with its sizes known: header, reservations, structure, strings, one behind the other.
#[derive(Debug)]
pub struct Flat<'n, 'a> {
    root: &'n Node<'a>,
    strings: Strings,
    reservations: &'n [Reservation],
    boot_cpu: u32,
    compatible: u32,
    structure_len: u64,
}

/// One token of the structure block.
enum Step<'n, 'a> {
    Begin(&'n str),
    Property(&'n Property<'a>),
    End,
}

/// From here on a borrowed value is a piece of its own in the plan; below it is copied among the tokens.
const OWN_PIECE: usize = 4096;

impl<'n, 'a> Flat<'n, 'a> {
    /// Measures the tree. `strings` may hold names already: what an earlier writer put there stays where it is.
    ///
    /// # Errors
    /// [`Error::Name`] for a name that no reader could read, [`Error::TooDeep`], and [`Error::TooLarge`] when the blob
    /// has 4 GiB or more.
    pub fn new(root: &'n Node<'a>, strings: Strings) -> Result<Self, Error> {
        let mut flat = Flat { root, strings, reservations: &[], boot_cpu: 0, compatible: COMPATIBLE, structure_len: 0 };
        flat.strings.insert_all(root)?;
        let mut depth = 0;
        let mut len = 4;
        walk(root, &mut |step| {
            match step {
                Step::Begin(name) => {
                    let is_root = depth == 0;
                    if name.contains(['/', '\0']) || name.is_empty() != is_root {
                        return Err(Error::Name { name: name.to_owned() });
                    }
                    depth += 1;
                }
                Step::Property(_) => {}
                Step::End => depth -= 1,
            }
            len += step.len();
            Ok(())
        })?;
        flat.structure_len = len;
        flat.check_size()?;
        Ok(flat)
    }

    /// The same with memory reservations.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn with_reservations(mut self, reservations: &'n [Reservation]) -> Result<Self, Error> {
        self.reservations = reservations;
        self.check_size()?;
        Ok(self)
    }

    /// The same with the `reg` of the CPU that boots.
    #[must_use]
    pub fn with_boot_cpu(mut self, boot_cpu: u32) -> Self {
        self.boot_cpu = boot_cpu;
        self
    }

    /// The same with another `last_comp_version`: what libfdt's sequential writer left there until 2025 was 2.
    #[must_use]
    pub(crate) fn with_compatible(mut self, version: Option<u32>) -> Self {
        self.compatible = version.unwrap_or(COMPATIBLE);
        self
    }

    fn check_size(&self) -> Result<(), Error> {
        match u32::try_from(self.size()) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::TooLarge { size: self.size() }),
        }
    }

    /// Length of the blob in bytes, without padding.
    pub fn size(&self) -> u64 {
        self.strings_at() + len64(self.strings.bytes())
    }

    fn structure_at(&self) -> u64 {
        HEADER_LEN + (count64(self.reservations.len()) + 1) * RESERVATION_LEN
    }

    /// Where the first property of the root stands, or would.
    pub(crate) fn root_properties_at(&self) -> u64 {
        // A token, and the empty name with its padding.
        self.structure_at() + 8
    }

    fn strings_at(&self) -> u64 {
        self.structure_at() + self.structure_len
    }

    /// Calls `visit` for each property with the names of the nodes down to it, the root's first, and with the range of its
    /// bytes in the blob, from its token to its padding.
    pub fn each_property(&self, visit: &mut impl FnMut(&[&str], &Property<'_>, Range<u64>)) {
        let mut at = self.structure_at();
        let mut here: Vec<&str> = Vec::new();
        // The tree was walked when it was measured: nothing fails.
        let _ = walk(self.root, &mut |step| {
            match &step {
                Step::Begin(name) => here.push(name),
                Step::Property(property) => visit(&here, property, at..at + step.len()),
                Step::End => {
                    here.pop();
                }
            }
            at += step.len();
            Ok(())
        });
    }

    /// Plans the blob, padded with zeros to `total` bytes where that is more; `totalsize` counts the padding.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when `total` does not fit the header.
    pub fn plan(&self, total: u64) -> Result<Plan<'a>, Error> {
        self.plan_over(total, Vec::new())
    }

    /// The same, with these bytes as the first of the padding, as far as it goes.
    ///
    /// # Errors
    /// As [`Flat::plan`].
    pub(crate) fn plan_over(&self, total: u64, mut left_over: Vec<u8>) -> Result<Plan<'a>, Error> {
        let narrow = |size: u64| u32::try_from(size).map_err(|_| Error::TooLarge { size });
        let total = total.max(self.size());
        let header = RawHeader {
            magic: FDT_MAGIC.into(),
            totalsize: narrow(total)?.into(),
            off_dt_struct: narrow(self.structure_at())?.into(),
            off_dt_strings: narrow(self.strings_at())?.into(),
            off_mem_rsvmap: narrow(HEADER_LEN)?.into(),
            version: VERSION.into(),
            last_comp_version: self.compatible.into(),
            boot_cpuid_phys: self.boot_cpu.into(),
            size_dt_strings: narrow(len64(self.strings.bytes()))?.into(),
            size_dt_struct: narrow(self.structure_len)?.into(),
        };
        let mut out = Reserver::new();
        out.bytes(header.as_bytes().to_vec())?;
        out.region("header", 0, RegionKind::Header);
        let end = [Reservation { address: 0, size: 0 }];
        let entries = self.reservations.iter().chain(&end);
        let words = entries.flat_map(|entry| [entry.address, entry.size]).flat_map(u64::to_be_bytes);
        out.bytes(words.collect::<Vec<u8>>())?;
        out.region("reservations", HEADER_LEN, RegionKind::Header);
        self.structure(&mut out)?;
        out.region("structure", self.structure_at(), RegionKind::Data);
        out.bytes(self.strings.bytes().to_vec())?;
        out.region("strings", self.strings_at(), RegionKind::Data);
        left_over.truncate(layout::usize_or_max(total - self.size()));
        out.bytes(left_over)?;
        out.fill_to("the device tree", total, 0)?;
        out.region("padding", self.size(), RegionKind::Padding);
        Ok(out.finish())
    }

    fn structure(&self, out: &mut Reserver<'a>) -> Result<(), Error> {
        let mut tokens: Vec<u8> = Vec::new();
        let word = |tokens: &mut Vec<u8>, word: u32| tokens.extend_from_slice(&word.to_be_bytes());
        walk(self.root, &mut |step| {
            match &step {
                Step::Begin(name) => {
                    word(&mut tokens, token::BEGIN_NODE);
                    tokens.extend_from_slice(name.as_bytes());
                    tokens.push(0);
                }
                Step::Property(property) => {
                    word(&mut tokens, token::PROP);
                    let size = len64(&property.value);
                    word(&mut tokens, u32::try_from(size).map_err(|_| Error::TooLarge { size })?);
                    let known = self.strings.known.get(&*property.name).copied();
                    word(&mut tokens, known.ok_or_else(|| Error::Name { name: property.name.to_string() })?);
                    match &property.value {
                        Cow::Borrowed(value) if value.len() >= OWN_PIECE => {
                            out.bytes(std::mem::take(&mut tokens))?;
                            out.bytes(*value)?;
                            // The padding is that of the whole value, which did not go through `tokens`.
                            tokens.extend_from_slice(property.padding());
                            return Ok(());
                        }
                        value => tokens.extend_from_slice(value),
                    }
                    tokens.extend_from_slice(property.padding());
                }
                Step::End => word(&mut tokens, token::END_NODE),
            }
            // Every piece that was put out begins and ends at a multiple of 4, but for those that are padded at once.
            while (out.at() + len64(&tokens)) % 4 != 0 {
                tokens.push(0);
            }
            Ok(())
        })?;
        word(&mut tokens, token::END);
        out.bytes(tokens)?;
        Ok(())
    }
}

/// Token, length and name of a property.
pub(crate) const PROPERTY_HEADER: u64 = 12;

/// Bytes of a property in the structure block.
pub(crate) fn property_len(value: u64) -> u64 {
    PROPERTY_HEADER + value.next_multiple_of(4)
}

impl Step<'_, '_> {
    /// Bytes in the structure block.
    fn len(&self) -> u64 {
        match self {
            Step::Begin(name) => 4 + (len64(name.as_bytes()) + 1).next_multiple_of(4),
            Step::Property(property) => property_len(len64(&property.value)),
            Step::End => 4,
        }
    }
}

/// Every token of a tree, in the order of the structure block.
fn walk<'n, 'a>(root: &'n Node<'a>, visit: &mut impl FnMut(Step<'n, 'a>) -> Result<(), Error>) -> Result<(), Error> {
    let mut open: Vec<std::slice::Iter<'n, Node<'a>>> = Vec::new();
    let enter = |node: &'n Node<'a>, visit: &mut dyn FnMut(Step<'n, 'a>) -> Result<(), Error>| {
        visit(Step::Begin(&node.name))?;
        node.properties.iter().try_for_each(|property| visit(Step::Property(property)))?;
        Ok::<_, Error>(node.children.iter())
    };
    open.push(enter(root, visit)?);
    while let Some(children) = open.last_mut() {
        match children.next() {
            Some(child) if open.len() < MAX_DEPTH => open.push(enter(child, visit)?),
            Some(_) => return Err(Error::TooDeep),
            None => {
                visit(Step::End)?;
                open.pop();
            }
        }
    }
    Ok(())
}
