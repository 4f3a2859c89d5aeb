//! What can be wrong with a FIT: as it is read, and as it is made.

use crate::finding::rules;

rules! {
    /// The rules of FITs.
    pub(crate) RULES:
    pub(crate) DESCRIPTION = "fit.description", Error, "description of the root node",
        "U-Boot refuses a FIT without a description",
        "add a description";
    pub(crate) TIMESTAMP = "fit.timestamp", Warning, "timestamp of the root node",
        "U-Boot that is built with CONFIG_TIMESTAMP refuses a FIT without a timestamp",
        "make it with kimage fit or mkimage -f";
    pub(crate) UNIT_ADDRESS = "fit.unit_address", Warning, "@ in the name of a node",
        "U-Boot from 2021.04 on refuses signed FITs with such nodes (CVE-2021-27138)",
        "change @ to - in the name: U-Boot from 2021.04 on refuses it (CVE-2021-27138)";
    pub(crate) DEFAULT = "fit.default", Error, "default configuration",
        "U-Boot finds no configuration to boot, unless one is named",
        "change `default` to one of the configurations";
    pub(crate) NO_DEFAULT = "fit.no_default", Note, "default configuration",
        "U-Boot boots only a configuration that is named, or that suits its board",
        "add `default`";
    pub(crate) CONFIGURATION = "fit.configuration", Error, "images of a configuration",
        "U-Boot cannot boot this configuration: an image that it names is not there",
        "change the name to that of an image";
    pub(crate) COMPATIBLE = "fit.compatible", Warning, "compatible of a configuration",
        "U-Boot that chooses a configuration by its board does not find this one, or finds another",
        "add `compatible`, or the device tree's own";
    pub(crate) COMPATIBLE_UNREAD = "fit.compatible_unread", Note, "configuration that is chosen by its device tree",
        "U-Boot that chooses by its board (CONFIG_FIT_BEST_MATCH) looks into no device tree that is encrypted or does not say \
         compression = \"none\": it passes the configuration over, and boots it when it is named, or, newer ones, when it is \
         the default and no other suits",
        "give the configuration the device tree's compatible, or name it: bootm ADDRESS#NAME";
    pub(crate) KERNEL = "fit.kernel", Error, "kernel of a configuration",
        "bootm has nothing to start: \"Could not find subimage node type 'kernel'\", or the like",
        "add `kernel`: bootm says \"Could not find subimage node type 'kernel'\", or the like";
    pub(crate) TYPE = "fit.type", Error, "type of an image",
        "bootm refuses the image in this role",
        "say what the image is: type = \"kernel\", \"flat_dt\" or \"ramdisk\"";
    pub(crate) OS = "fit.os", Error, "os of an image",
        "bootm refuses the image",
        "say os = \"linux\": bootm refuses the image";
    pub(crate) ARCH = "fit.arch", Error, "arch of an image",
        "bootm refuses the image: \"Unsupported Architecture\"",
        "say arch = \"arm64\", or the like: bootm refuses the image (\"Unsupported Architecture\")";
    pub(crate) CODEC = "fit.codec", Error, "compression of an image",
        "U-Boot does not know the word, and refuses the image",
        "say compression = \"none\", or the codec's name";
    pub(crate) COMPRESSION = "fit.compression", Error, "compression of an image",
        "U-Boot fails to decompress the image",
        "change `compression`, or compress the data first";
    pub(crate) CODEC_UNNAMED = "fit.codec_unnamed", Warning, "compression of the kernel",
        "U-Boot starts the compressed bytes: it has no word for this codec",
        "compress with gzip, bzip2, lzma, lzo, lz4 or zstd instead";
    pub(crate) LZ4_LEGACY = "fit.lz4_legacy", Warning, "compression of the kernel",
        "U-Boot does not read LZ4's legacy frame",
        "compress with `lz4 -9` (without -l), or give the kernel uncompressed";
    pub(crate) FDT = "fit.fdt", Error, "data of a device tree",
        "bootm refuses it: \"Subimage data is not a FDT\"",
        "compile the source first: dtc -O dtb; bootm says \"Subimage data is not a FDT\"";
    pub(crate) LOAD = "fit.load", Error, "load address",
        "bootm says \"Can't get image load address!\"",
        "add load = <0xADDRESS>, <0> for kernel_noload: bootm says \"Can't get image load address!\"";
    pub(crate) ENTRY = "fit.entry", Error, "entry point",
        "bootm jumps to an address where the kernel does not begin, or finds none",
        "add entry = <0xADDRESS>, <0> for kernel_noload: bootm says \"Can't get entry point property!\"";
    pub(crate) OVERLAY = "fit.overlay", Warning, "device tree that overlays are applied to",
        "U-Boot enlarges it in place, over what follows it in the FIT",
        "say where the device tree is copied to first: its load address";
    pub(crate) APPENDED_DTB = "fit.appended_dtb", Warning, "place of a device tree",
        "the zImage before it takes it for a device tree appended to it",
        "put the device trees before the kernel, or the data apart from each other (external data, aligned)";
    pub(crate) DATA = "fit.data", Error, "data of an image",
        "the image cannot be read: it is not there, or not all of it",
        "a tree source names the file with /incbin/; make the FIT with kimage fit or mkimage -f";
    pub(crate) OVERLAP = "fit.overlap", Warning, "place of an image's data",
        "images share bytes: a change of one is one of the other",
        "make the FIT again";
    pub(crate) HASH = "fit.hash", Error, "hash of an image",
        "U-Boot refuses the image: \"Bad Data Hash\", unless it is told not to look (verify=no)",
        "the data or the hash is damaged: copy it again";
    pub(crate) HASH_LIMIT = "fit.hash_limit", Error, "hashes of images that share their bytes",
        "nobody looked whether the images are whole",
        "no tool makes such a file: give each image data of its own";
    /// A signature that nobody has checked, for want of a key.
    pub(crate) SIGNATURE = "fit.signature", Note, "signature",
        "nobody looked whether a board would take it",
        "check it: kimage verify with `request.control_dtb` DTB or `request.key` FILE";
    pub(crate) SIGN_IMAGES = "fit.sign_images", Warning, "images that a signature covers",
        "who replaces the other images of the configuration, its ramdisk among them, is not found out by U-Boot up to 2026.01; later \
         ones refuse the FIT",
        "name all of them: sign-images = \"kernel\", \"fdt\", \"ramdisk\", ... (what the configuration has), and sign again";
    pub(crate) SIGNED = "fit.signed", Note, "signature of a configuration",
        "a U-Boot with this key takes it",
        "";
    pub(crate) UNSIGNED = "fit.unsigned", Error, "signature of a configuration",
        "a U-Boot that demands the signature refuses it; without one, nobody knows who made the image",
        "sign it (kimage sign); if it was signed, it was changed afterwards, or is a forged one: do not boot it";
    pub(crate) NOT_REQUIRED = "fit.not_required", Error, "required of the keys in a control device tree",
        "U-Boot demands no signature: it boots what anybody made",
        "put the key in with required = \"conf\" (`request.required` conf)";
    pub(crate) CONTROL_KEY = "fit.control_key", Error, "key in a control device tree",
        "no signature holds with the key: where it is required, U-Boot boots nothing; where it is not, U-Boot boots what is not signed",
        "put the key in again: kimage pubkey";
    pub(crate) KEY_UNSUPPORTED = "fit.key_unsupported", Error, "key in a control device tree",
        "nobody looked whether U-Boot with this key takes the FIT: one that does not know the algorithm either takes none, where the key \
         is required",
        "give the board a key of rsa2048, rsa3072, rsa4096, ecdsa256 or ecdsa384 (kimage pubkey), or check with U-Boot's fit_check_sign";
    pub(crate) BOOTS_UNSIGNED = "fit.boots_unsigned", Error, "configuration that boots unsigned",
        "U-Boot boots it as anybody made or changed it: a signature that it has is not asked for",
        "put the key in with required = \"conf\" (`request.required` conf)";
    pub(crate) IMAGE_ALONE = "fit.image_alone", Note, "images that are named by themselves",
        "who can type or change U-Boot's commands boots an image that nobody signed: bootm ADDRESS:IMAGE checks no configuration",
        "demand signatures of the images, too (`request.required` conf,image), or boot by a command that nobody can change";
    pub(crate) WEAK_HASH = "fit.weak_hash", Error, "hash of a signed image",
        "the signature stands for the hash alone, and other data of the same hash can be made",
        "add a hash with algo = \"sha256\", and sign again";
    pub(crate) DUPLICATE_NAME = "fit.duplicate_name", Error, "names in a signed tree",
        "two readers may take different ones of the two, of which one is not what was signed",
        "no tool makes such a tree: do not boot it";
    pub(crate) HASHED_NODES = "fit.hashed_nodes", Error, "hashed-nodes of a signature",
        "the signature does not cover what the configuration boots (CVE-2020-10648)",
        "the configuration was changed after it was signed, or is a forged one: do not boot it; sign it again if the change is \
         yours";
    pub(crate) CIPHER = "fit.cipher", Note, "encrypted data of an image",
        "nobody looked what it decrypts to",
        "check it: kimage verify with the folder of the keys (`request.keys` DIR)";
    pub(crate) NOT_ENCRYPTED = "fit.not_encrypted", Warning, "cipher",
        "the data stands there in plain text: U-Boot that decrypts refuses the image (\"Can't get unciphered data size\")",
        "encrypt it: kimage fit with the folder of the keys (`request.keys` DIR)";
    pub(crate) CIPHER_KEY = "fit.cipher_key", Error, "key of an encrypted image in the control device tree",
        "U-Boot that decrypts refuses the image (\"Can't found cipher node offset\"), any other starts the encrypted bytes",
        "make the FIT with this control device tree: kimage fit with `request.keys` DIR and `request.control_dtb` DTB";
    pub(crate) DECRYPTED = "fit.decrypted", Error, "encrypted data of an image",
        "U-Boot decrypts it to something else than was encrypted",
        "give the key that it was encrypted with; if this is the one, the data is damaged: copy it again";
    pub(crate) DM_VERITY_DIGEST = "fit.dm_verity_digest", Note, "digest of dm-verity",
        "nobody looked whether it is that of the root file system",
        "check it with veritysetup verify";
    pub(crate) DM_VERITY = "fit.dm_verity", Warning, "dm-verity",
        "the root file system cannot be checked: there is no digest",
        "make it with kimage fit or mkimage 2026.10 or newer, and the data behind the tree of nodes (`request.external`)";
    pub(crate) DM_VERITY_TREE = "fit.dm_verity_tree", Error, "hash tree of dm-verity",
        "the kernel fails to read the block, or does not set the device up at all",
        "the data or the tree is damaged: copy it again, or make the FIT again";
}
