# Yocto: a FIT by kimage in place of kernel-fitimage.
#
#     KERNEL_CLASSES:append = " kernel-kimage"
#     KIMAGE_FIT_OPTIONS = "-E"                 (options of `kimage fit`)
#     KIMAGE_BOARD = "beaglebone-black"         (a board file or shipped board: an image that would not boot fails the task)
#
# Unlike kernel-fitimage it needs neither dtc-native nor u-boot-tools-native, and no .its is written.

DEPENDS:append = " kimage-native"
KIMAGE ?= "kimage"
KIMAGE_FIT_OPTIONS ?= ""
KIMAGE_BOARD ?= ""

do_kimage_fit() {
    cd ${B}
    kernel=${KERNEL_OUTPUT_DIR}/${KIMAGE_KERNEL}
    set -- --kernel "$kernel"
    for dtb in ${KERNEL_DEVICETREE}; do
        set -- "$@" --dtb "${KERNEL_OUTPUT_DIR}/dts/$dtb"
    done
    ${KIMAGE} fit "$@" ${KIMAGE_FIT_OPTIONS} -o ${KERNEL_OUTPUT_DIR}/fitImage
    if [ -n "${KIMAGE_BOARD}" ]; then
        ${KIMAGE} lint ${KERNEL_OUTPUT_DIR}/fitImage --board "${KIMAGE_BOARD}"
    fi
}

KIMAGE_KERNEL ?= "${@'zImage' if d.getVar('TARGET_ARCH') == 'arm' else 'Image'}"
addtask kimage_fit after do_compile before do_install do_deploy

do_deploy:append() {
    install -m 0644 ${B}/${KERNEL_OUTPUT_DIR}/fitImage $deployDir/fitImage
}
