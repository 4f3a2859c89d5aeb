# OpenWrt: steps for image recipes (target/linux/*/image/Makefile), in place of uImage, pad-offset and
# append-uImage-fakehdr, without a patched mkimage.
#
#     include $(TOPDIR)/kimage.mk
#     KERNEL := kernel-bin | append-dtb | lzma | kimage-uImage lzma
#     KERNEL := kernel-bin | append-dtb | lzma | kimage-uImage lzma --align 64k --tail $(KDIR)/fakehdr
#
# The first word is the compression of the data, the rest are options of `kimage uimage`. Device variables UIMAGE_MAGIC and
# UIMAGE_NAME count as with OpenWrt's own step. $@ is the file that the steps before made.

KIMAGE ?= kimage

define Build/kimage-uImage
	$(KIMAGE) uimage $@ -A $(LINUX_KARCH) -O linux -T kernel -C $(word 1,$(1)) \
		-a $(KERNEL_LOADADDR) -e $(if $(KERNEL_ENTRY),$(KERNEL_ENTRY),$(KERNEL_LOADADDR)) \
		-n '$(if $(UIMAGE_NAME),$(UIMAGE_NAME),$(VERSION_DIST) Linux-$(LINUX_VERSION))' --truncate-name \
		$(if $(UIMAGE_MAGIC),--magic $(UIMAGE_MAGIC)) $(wordlist 2,$(words $(1)),$(1)) --quiet -o $@.new
	mv $@.new $@
endef

# An empty header in front of the root file system: kimage-fakehdr [options].
define Build/kimage-fakehdr
	$(KIMAGE) uimage --empty -A $(LINUX_KARCH) -O linux -T filesystem -C none -n empty --quiet \
		$(if $(UIMAGE_MAGIC),--magic $(UIMAGE_MAGIC)) $(1) -o $@.fakehdr
	cat $@.fakehdr >> $@
	rm $@.fakehdr
endef
