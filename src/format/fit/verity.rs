//! dm-verity: a tree of hashes behind the data of an image, which the kernel checks block by block as it reads.
//!
//! The hashes of the data's blocks stand in hash blocks, filled up with zeros; those blocks have hashes in further blocks, up to one,
//! the root, which stands first. Each hash is that of the salt and the block, in a slot of the next power of two. Of one
//! block of data there is no tree: its hash is the root's.
//!
//! Source: Linux' drivers/md/dm-verity-target.c and Documentation/admin-guide/device-mapper/verity.rst (version 1, without
//! superblock: `veritysetup format --no-superblock`); U-Boot's tools/image-host.c of 2026.10 (`fit_image_process_verity`) and
//! doc/usage/fit/dm-verity.rst.

use super::Algorithm;
use crate::bytes::{len64, slice};
use crate::format::fdt::{Node, NodeRef, Property};
use std::borrow::Cow;

/// The node that asks for it.
pub(crate) const VERITY: &str = "dm-verity";

/// The smallest block.
const LEAST: u32 = 512;

/// How the tree of an image is made.
#[derive(Debug, Clone)]
struct Scheme<'s> {
    algorithm: Algorithm,
    /// Bytes of a block of data, and of one of hashes: powers of two.
    data_block: u64,
    hash_block: u64,
    salt: Cow<'s, [u8]>,
}

/// Why an image has no tree that could be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The algorithm is none that kimage knows.
    Unknown(String),
    /// Something does not fit, or is not what it should be.
    Wrong(String),
}

impl From<String> for Fault {
    fn from(why: String) -> Fault {
        Fault::Wrong(why)
    }
}

/// What a tree is made for: the properties, and the tree.
pub(super) struct Made<'a> {
    /// In the order in which they are put in.
    pub(super) properties: [Property<'a>; 4],
    pub(super) tree: Vec<u8>,
}

fn cell(value: Option<&[u8]>, name: &str) -> Result<u32, Fault> {
    let number = value.and_then(|value| value.try_into().ok()).map(u32::from_be_bytes);
    number.ok_or_else(|| Fault::Wrong(format!("{name} is not one cell")))
}

impl<'s> Scheme<'s> {
    /// By the properties of a node.
    fn new(property: impl Fn(&str) -> Option<&'s [u8]>, salt: Cow<'s, [u8]>) -> Result<Self, Fault> {
        let block = |name: &str| match cell(property(name), name)? {
            size if size >= LEAST && size.is_power_of_two() => Ok(u64::from(size)),
            size => Err(Fault::Wrong(format!("{name}: found {size}, wanted a power of two from {LEAST} on"))),
        };
        let (data_block, hash_block) = (block("data-block-size")?, block("hash-block-size")?);
        let name = property("algo").and_then(|algo| std::str::from_utf8(algo.strip_suffix(&[0])?).ok());
        let name = name.ok_or_else(|| Fault::Wrong("algo is no text".to_owned()))?;
        let known = [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];
        let algorithm = known.into_iter().find(|algorithm| algorithm.name() == name);
        let algorithm = algorithm.ok_or_else(|| Fault::Unknown(name.to_owned()))?;
        Ok(Scheme { algorithm, data_block, hash_block, salt })
    }

    fn hash(&self, block: &[u8]) -> Vec<u8> {
        self.algorithm.hash_all(&[&self.salt, block])
    }

    /// Hashes in a block, and bytes from one to the next.
    fn slots(&self) -> (u64, u64) {
        let slot = len64(&self.algorithm.hash(&[])).next_power_of_two();
        (self.hash_block / slot, slot)
    }

    /// The blocks of hashes of each level, the root's last.
    fn levels(&self, data_blocks: u64) -> Vec<u64> {
        let (per_block, _) = self.slots();
        let above = |below: &u64| (*below > 1).then(|| below.div_ceil(per_block));
        std::iter::successors(above(&data_blocks), above).collect()
    }

    /// The hash blocks over these blocks.
    fn above(&self, blocks: &[u8], size: u64) -> Vec<u8> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let [slot, hash_block] =
            [self.slots().1, self.hash_block].map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        let mut level = Vec::new();
        for block in blocks.chunks(size) {
            let at = level.len();
            level.extend(self.hash(block));
            level.resize(at + slot, 0);
        }
        level.resize(level.len().next_multiple_of(hash_block), 0);
        level
    }

    /// The root's hash, and the tree.
    fn tree(&self, data: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut levels: Vec<Vec<u8>> = Vec::new();
        for _ in self.levels(len64(data) / self.data_block) {
            levels.push(match levels.last() {
                None => self.above(data, self.data_block),
                Some(below) => self.above(below, self.hash_block),
            });
        }
        levels.reverse();
        (self.hash(levels.first().map_or(data, Vec::as_slice)), levels.concat())
    }

    /// Looks for the first block that does not have the hash above it, from the root down.
    fn check(&self, data: &[u8], tree: &[u8], digest: &[u8]) -> Result<(), String> {
        let (per_block, slot) = self.slots();
        let mut levels = self.levels(len64(data) / self.data_block);
        levels.reverse();
        let total: u64 = levels.iter().sum();
        // The level above, and the number of its first block in the tree.
        let (mut above, mut first) = (None, 0);
        for blocks in levels.into_iter().map(Some).chain([None]) {
            let (part, size) = match blocks {
                Some(blocks) => (slice(tree, first * self.hash_block, blocks * self.hash_block), self.hash_block),
                None => (Some(data), self.data_block),
            };
            let part = part.unwrap_or(&[]);
            for (index, block) in (0_u64..).zip(part.chunks(usize::try_from(size).unwrap_or(usize::MAX))) {
                let hash = self.hash(block);
                let place = index / per_block * self.hash_block + index % per_block * slot;
                let wanted = above.map_or(Some(digest), |above| slice(above, place, len64(&hash)));
                if wanted != Some(&*hash) {
                    return Err(match (above, blocks) {
                        (None, _) => "the digest is not that of the root".to_owned(),
                        (_, Some(_)) => {
                            format!("hash block {} of {total} does not have the hash above it", first + index)
                        }
                        (_, None) => {
                            let count = len64(part) / size;
                            format!("data block {index} of {count}, at {:#x}, does not have its hash", index * size)
                        }
                    });
                }
            }
            above = Some(part);
            first += blocks.unwrap_or(0);
        }
        Ok(())
    }
}

/// Makes the tree that a node asks for. A salt that is given is taken; else it is made of the data, so that the same data gives the
/// same tree.
pub(super) fn make<'a>(node: &Node<'_>, data: &[u8]) -> Result<Made<'a>, Fault> {
    let property = |name: &str| node.property(name).map(|it| &*it.value);
    let salt = property("salt").map_or_else(|| Algorithm::Sha256.hash(data).into(), Cow::Borrowed);
    let scheme = Scheme::new(property, salt)?;
    let most = scheme.data_block.max(scheme.hash_block);
    // veritysetup, and mkimage with it, rounds the place of the tree down to a hash block, and overwrites the end of the data.
    if data.is_empty() || len64(data) % most != 0 {
        let why =
            format!("the data has {} bytes, wanted a multiple of {most}, the larger of the block sizes", data.len());
        return Err(why.into());
    }
    let number = |blocks: u64| u32::try_from(blocks).map_err(|_| Fault::Wrong(format!("{blocks} blocks are too many")));
    let (blocks, start) = (number(len64(data) / scheme.data_block)?, number(len64(data) / scheme.hash_block)?);
    let (root, tree) = scheme.tree(data);
    let properties = [
        Property::bytes("digest", root),
        Property::bytes("salt", scheme.salt.into_owned()),
        Property::u32("num-data-blocks", blocks),
        Property::u32("hash-start-block", start),
    ];
    Ok(Made { properties, tree })
}

/// Holds an image's data, with the tree in it, to the digest of its node.
pub(crate) fn check<'p>(property: impl Fn(&str) -> Option<&'p [u8]>, data: &[u8]) -> Result<(), Fault> {
    let lacks = |name: &str| Fault::Wrong(format!("it has no {name}"));
    let salt = property("salt").ok_or_else(|| lacks("salt"))?;
    let digest = property("digest").ok_or_else(|| lacks("digest"))?;
    let scheme = Scheme::new(&property, Cow::Borrowed(salt))?;
    let blocks = u64::from(cell(property("num-data-blocks"), "num-data-blocks")?);
    let start = u64::from(cell(property("hash-start-block"), "hash-start-block")?) * scheme.hash_block;
    let size = blocks * scheme.data_block;
    let tree_len = scheme.levels(blocks).iter().sum::<u64>() * scheme.hash_block;
    let have = len64(data);
    let places = (slice(data, 0, size), slice(data, start, tree_len));
    let ((Some(contents), Some(tree)), false) = (places, blocks == 0 || start < size) else {
        return Err(format!(
            "{blocks} data blocks and {tree_len} bytes of hashes from {start:#x} on are not in the {have} bytes that it has"
        )
        .into());
    };
    Ok(scheme.check(contents, tree, digest)?)
}

/// The same for a node that is read.
pub(crate) fn check_node(node: NodeRef<'_, '_>, data: &[u8]) -> Result<(), Fault> {
    check(|name| node.property(name).map(|it| it.value), data)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first bad block of a tree of three levels is named, whatever is damaged.
    #[test]
    fn damage() {
        let data: Vec<u8> = (0..300 * 512_u32).map(|at| (at / 7) as u8).collect();
        let node = Node::new(VERITY)
            .with(Property::string("algo", "sha256"))
            .with(Property::u32("data-block-size", 512))
            .with(Property::u32("hash-block-size", 512));
        let Made { properties, tree } = make(&node, &data).unwrap();
        // 300 hashes of 32 bytes: 19 blocks, 2 blocks, 1.
        assert_eq!(tree.len(), 22 * 512);
        let filled = properties.iter().fold(node, |node, property| node.with(property.clone()));
        let check = |data: &[u8]| check(|name| filled.property(name).map(|it| &*it.value), data);
        let whole = [&data[..], &tree].concat();
        assert_eq!(check(&whole), Ok(()));
        for (at, words) in [
            (0, "data block 0 of 300"),
            (299 * 512, "data block 299 of 300"),
            (300 * 512, "the digest is not"),
            (301 * 512 + 3, "hash block 1 of 22"),
            (302 * 512 + 3, "hash block 2 of 22"),
            (303 * 512, "hash block 3 of 22"),
            (322 * 512 - 1, "hash block 21 of 22"),
        ] {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            let Err(Fault::Wrong(why)) = check(&bad) else { panic!("{at}") };
            assert!(why.contains(words), "{at}: {why}");
        }
        assert!(check(&whole[..whole.len() - 1]).is_err());
        assert!(make(&filled, &data[1..]).is_err());
    }
}
