//! What a board file says.

use crate::finding::Finding;
use crate::format::uimage::ARCH;
use serde::Deserialize;
use std::fmt;

/// A board: where its memory is, what its boot script does, what its boot loader can.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// Its name.
    pub name: String,
    /// Where the numbers come from.
    pub source: String,
    /// The CPU as its boot loader runs it, in mkimage's words: `arm`, `arm64`, `riscv`, `mips`, `powerpc`, `x86` ...
    pub arch: String,
    /// The banks of RAM, at the addresses that U-Boot uses (MIPS: KSEG0).
    pub ram: Vec<Area>,
    /// Memory that nothing may be put into.
    #[serde(default)]
    pub reserved: Vec<Area>,
    /// Flash partitions; the image must fit the one called `kernel`.
    #[serde(default)]
    pub flash: Vec<Area>,
    /// No larger image is taken, in bytes.
    pub kernel_max: Option<u64>,
    /// The addresses of the boot script.
    #[serde(default)]
    pub env: Environment,
    /// What U-Boot can.
    #[serde(default)]
    pub loader: Loader,
}

/// A range of memory or flash.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Area {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its address.
    pub start: u64,
    /// Bytes.
    pub size: u64,
}

impl Area {
    /// The address behind it.
    pub(crate) fn end(&self) -> u64 {
        self.start.saturating_add(self.size)
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end())
    }
}

/// Variables of U-Boot's environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Where the image is loaded to.
    pub kernel_addr_r: Option<u64>,
    /// Where the device tree is loaded to.
    pub fdt_addr_r: Option<u64>,
    /// Where the ramdisk is loaded to.
    pub ramdisk_addr_r: Option<u64>,
    /// Where `booti` unpacks a compressed Image.
    pub kernel_comp_addr_r: Option<u64>,
    /// How much of it fits there.
    pub kernel_comp_size: Option<u64>,
    /// All ones: the device tree stays where it was loaded; else the address below which U-Boot puts it.
    pub fdt_high: Option<u64>,
    /// All ones: the ramdisk stays where it was loaded; else the address below which U-Boot puts it.
    pub initrd_high: Option<u64>,
    /// `CONFIG_SYS_BOOTM_LEN`: `bootm` unpacks no more.
    pub bootm_len: Option<u64>,
    /// U-Boot's own device tree: set by U-Boot itself where it has moved to, the stack below and all else above.
    pub fdtcontroladdr: Option<u64>,
}

/// What the boot loader can.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Loader {
    /// Compressions that `bootm` unpacks: `none`, `gzip`, `bzip2`, `lzma`, `lzo`, `lz4`, `zstd`.
    pub codecs: Vec<String>,
    /// What it starts: `uimage`, `fit`, `zimage`, `image`, `bzimage`.
    pub formats: Vec<String>,
    /// The largest LZMA dictionary, in bytes.
    pub lzma_dict_max: Option<u64>,
    /// Where U-Boot itself is while it loads: code, heap, device tree and stack at the top of the RAM (`bdinfo`: the last range
    /// reserved).
    pub place: Option<Area>,
}

impl Default for Loader {
    fn default() -> Self {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Loader {
            codecs: words(&["none", "gzip"]),
            formats: words(&["uimage", "fit"]),
            lzma_dict_max: None,
            place: None,
        }
    }
}

impl Board {
    /// Reads a board file (TOML).
    ///
    /// # Errors
    /// Where the text is not what it should be, in words with the line.
    pub fn parse(text: &str) -> Result<Board, String> {
        let board: Board = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let number = before.matches('\n').count();
            let line: String = text.lines().nth(number).unwrap_or_default().trim().chars().take(60).collect();
            format!("line {} ({line:?}): {}", number + 1, error.message())
        })?;
        if ARCH.id(&board.arch).is_none() {
            let known: Vec<&str> = ARCH.all().map(|name| name.short).collect();
            return Err(format!("arch: {:?} is no CPU that mkimage knows; those are {}", board.arch, known.join(", ")));
        }
        Ok(board)
    }

    /// Where U-Boot itself is until the kernel starts: by its environment, else by the board file; `None`: not known.
    pub(crate) fn loader_place(&self) -> Option<Area> {
        // As much U-Boot 2023.01 keeps for its stack (arch/arm/lib/stack.c), whose top is just below the device tree.
        const STACK: u64 = 16 << 10;
        // A U-Boot with its heap is smaller; what lies further down was not put there by U-Boot's move.
        const MOST: u64 = 128 << 20;
        let of_env = self.env.fdtcontroladdr.and_then(|at| {
            let bank = self.ram.iter().find(|bank| (bank.start..bank.end()).contains(&at))?;
            let start = at.saturating_sub(STACK);
            (bank.end() - at <= MOST).then(|| Area { name: String::new(), start, size: bank.end() - start })
        });
        of_env.or_else(|| self.loader.place.clone())
    }

    /// Does U-Boot leave the device tree where it was loaded?
    pub(crate) fn fdt_in_place(&self) -> bool {
        self.in_place(self.env.fdt_high)
    }

    /// Does U-Boot leave the ramdisk where it was loaded?
    pub(crate) fn initrd_in_place(&self) -> bool {
        self.in_place(self.env.initrd_high)
    }

    /// All ones, of the width of an address: to a 64-bit U-Boot 0xffffffff is a limit like any other.
    fn in_place(&self, high: Option<u64>) -> bool {
        let ones = if matches!(&*self.arch, "arm64" | "riscv" | "x86_64") { u64::MAX } else { u32::MAX.into() };
        high.is_some_and(|high| high == ones || high == u64::MAX)
    }
}

impl Environment {
    /// Takes over what a `printenv` says, line by line `name=value`; a number is hexadecimal, as everywhere in U-Boot.
    ///
    /// Gives a finding for a value that is not a plain number.
    pub fn read(&mut self, printenv: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        let value =
            |name: &str| printenv.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix('='));
        let fields: [(&[&str], &mut Option<u64>); 9] = [
            (&["kernel_addr_r", "loadaddr"], &mut self.kernel_addr_r),
            (&["fdt_addr_r", "fdtaddr", "fdt_addr"], &mut self.fdt_addr_r),
            (&["ramdisk_addr_r", "rdaddr"], &mut self.ramdisk_addr_r),
            (&["kernel_comp_addr_r"], &mut self.kernel_comp_addr_r),
            (&["kernel_comp_size"], &mut self.kernel_comp_size),
            (&["fdt_high"], &mut self.fdt_high),
            (&["initrd_high"], &mut self.initrd_high),
            (&["bootm_len"], &mut self.bootm_len),
            (&["fdtcontroladdr"], &mut self.fdtcontroladdr),
        ];
        for (names, field) in fields {
            let Some((name, text)) = names.iter().find_map(|name| Some((name, value(name)?))) else {
                // A variable that is not set has its meaning too.
                if matches!(names.first(), Some(&"fdt_high" | &"initrd_high")) {
                    *field = None;
                }
                continue;
            };
            let digits = text.trim().strip_prefix("0x").unwrap_or(text.trim());
            match u64::from_str_radix(digits, 16) {
                Ok(number) => *field = Some(number),
                Err(_) => {
                    let message = format!("{name}={text} is no hexadecimal number: the board file's value counts");
                    findings.push(super::rules::ENV.finding(message));
                }
            }
        }
        findings
    }
}
