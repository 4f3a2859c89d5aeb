# Builds a FIT from its source, and a uImage from a kernel. Include it, and say what you want:
#
#     include kimage.mk
#     all: image.itb uImage
#
# --depfile lists every file that went in; Make reads those lists on the next run.

KIMAGE ?= kimage

%.itb: %.its
	$(KIMAGE) fit $< -o $@ --depfile $@.d --quiet

uImage: vmlinux
	$(KIMAGE) uimage $< --compress $(or $(UIMAGE_COMPRESS),gzip) -o $@ --depfile $@.d --quiet

-include $(wildcard *.d)
