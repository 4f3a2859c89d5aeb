//! What can keep a kernel from user space.

use crate::finding::rules;

rules! {
    /// The rules of [`super::doctor`].
    pub(crate) RULES:
    pub(crate) INITRD = "doctor.initrd", Error, "initial RAM disk",
        "the kernel does not look at it",
        "set CONFIG_BLK_DEV_INITRD=y";
    pub(crate) INITRD_CODEC = "doctor.initrd_codec", Error, "compression of the initial RAM disk",
        "the kernel does not unpack it, nor what follows it",
        "compress it in a way that the kernel knows";
    pub(crate) INITRD_UNPACK = "doctor.initrd_unpack", Warning, "initial RAM disk as the kernel unpacks it",
        "what stands behind the fault is not unpacked",
        "make the archive again: find . | cpio -o -H newc";
    pub(crate) INITRD_FOLDER = "doctor.initrd_folder", Warning, "folders of the initial RAM disk",
        "the kernel makes no folder by itself: files in one that the archive does not have are dropped without a word",
        "put the folder into the archive, in front of its files (find . | cpio -o -H newc does)";
    pub(crate) INIT = "doctor.init", Error, "first program",
        "no program is started",
        "put a program there that is executable and for the kernel's CPU, with its interpreter";
    pub(crate) INIT_LIBRARY = "doctor.init_library", Error, "libraries of the first program",
        "it ends at once, which the first program must not",
        "put the library into the initial RAM disk, or link the program statically";
    pub(crate) CONSOLE_NODE = "doctor.console_node", Warning, "/dev/console of the initial RAM disk",
        "what the first program writes is not seen",
        "put the node there: c 5 1";
    pub(crate) CONSOLE = "doctor.console", Warning, "console= and its driver",
        "nothing is seen there",
        "build the driver in, or name another console";
    pub(crate) ROOT = "doctor.root", Error, "root device",
        "the kernel does not find its root file system",
        "name the root device by root=, or give an initial RAM disk that mounts it";
    pub(crate) ROOT_FILESYSTEM = "doctor.root_filesystem", Error, "file system of the root device",
        "the kernel cannot mount its root file system",
        "build its driver in";
    pub(crate) ROOT_WAIT = "doctor.root_wait", Warning, "rootwait",
        "the device shows up after the kernel has looked for it",
        "add rootwait to the command line";
    pub(crate) DEVTMPFS = "doctor.devtmpfs", Note, "devtmpfs",
        "the root file system must have its own device nodes",
        "set CONFIG_DEVTMPFS=y and CONFIG_DEVTMPFS_MOUNT=y";
    pub(crate) TARGET = "doctor.target", Warning, "what the target needs of the kernel",
        "a device or service of the target does not work",
        "set the option";
    pub(crate) TARGET_CPU = "doctor.target_cpu", Error, "CPU of the target",
        "the kernel does not start there",
        "take a kernel that was built for the target's CPU";
    pub(crate) TARGET_FORMAT = "doctor.target_format", Error, "kind of file that the target takes",
        "the target refuses the file",
        "give it what it takes";
    pub(crate) CONFIG = "doctor.config", Warning, "configuration that was given",
        "what is said by it may not be so",
        "give the configuration of this very build";
    pub(crate) LOG = "doctor.log", Error, "messages of the kernel",
        "the boot ends there",
        "";
    pub(crate) NOT_KNOWN = "doctor.not_known", Note, "facts of the kernel",
        "what depends on them was not judged",
        "give its configuration (`request.config`)";
}
