/* What a kernel finds of a unified image's stub: its command line and RAM disk, variables, and the TPM's log. It says them on the
   serial line, and switches the machine off. Built twice: as an EFI program that a stub of systemd's takes for a kernel (code that lies
   anywhere, and begins with its entry), and as a kernel of the 64-bit boot protocol (KERNEL). */
#ifdef KERNEL
__asm__(".text\n\t.globl _start\n_start:\n\tcld\n\tcli\n\tlea stack+65536(%rip), %rsp\n\tmov %rsi, %rdi\n\tcall kernel\n");
#else
__asm__(".text\n\tjmp entry\n");
#endif

#include "efi.h"

#ifdef KERNEL
__attribute__((used, aligned(16))) u8 stack[65536];
static u64 pages[6][512] __attribute__((aligned(4096)));
#endif

static int same(const u8 *one, const u8 *other)
{
	for (u32 i = 0; i < 16; i++)
		if (one[i] != other[i])
			return 0;
	return 1;
}

static u32 word(const u8 *at)
{
	return at[0] | at[1] << 8 | at[2] << 16 | (u32)at[3] << 24;
}

/* Length and FNV-1a. */
static void disk(const u8 *bytes, u64 len)
{
	u64 sum = 0xcbf29ce484222325;

	for (u64 i = 0; i < len; i++)
		sum = (sum ^ bytes[i]) * 0x100000001b3;
	text("disk ");
	hex((u8 *)&len, 8);
	text(" ");
	hex((u8 *)&sum, 8);
	text("\r\n");
}

static void variables(struct runtime *runtime)
{
	/* systemd's */
	u8 ours[16] = {0x82, 0xb0, 0x67, 0x4a, 0x4c, 0x0a, 0xcf, 0x41, 0xb6, 0xc7, 0x44, 0x0b, 0x29, 0xbb, 0x8c, 0x4f};
	u64 API (*next)(u64 *, u16 *, u8 *) = runtime->functions[7];
	u64 API (*get)(u16 *, u8 *, u32 *, u64 *, u8 *) = runtime->functions[6];
	u16 name[256];
	u8 guid[16], value[512];

	name[0] = 0;
	for (;;) {
		u64 len = sizeof name, count = sizeof value;
		u32 how = 0;

		if (next(&len, name, guid))
			break;
		if (!same(guid, ours) || get(name, guid, &how, &count, value))
			continue;
		text("variable ");
		for (u32 i = 0; name[i]; i++)
			put(name[i]);
		text(" ");
		hex((u8 *)&how, 1);
		text(" ");
		hex(value, count);
		text("\r\n");
	}
}

/* Events of the registers from 9 on: register, type, SHA-256 digest, data. */
static void events(const u8 *log, const u8 *last)
{
	/* The first event is of another form. */
	const u8 *at = log + 32 + word(log + 28);

	while (at <= last) {
		const u8 *event = at, *sha256 = at;
		u32 count = word(at + 8);

		at += 12;
		for (; count--;) {
			u32 kind = at[0] | at[1] << 8;
			u32 len = kind == 4 ? 20 : kind == 11 ? 32 : kind == 12 ? 48 : kind == 13 ? 64 : 32;

			if (kind == 11)
				sha256 = at + 2;
			at += 2 + len;
		}
		if (word(event) >= 9 && word(event) < 16) {
			text("event ");
			hex(event, 1);
			text(" ");
			hex(event + 4, 1);
			text(" ");
			hex(sha256, 32);
			text(" ");
			hex(at + 4, word(at));
			text("\r\n");
		}
		at += 4 + word(at);
	}
}

#ifdef KERNEL
__attribute__((used)) void kernel(u8 *params)
{
	/* LINUX_EFI_TPM_EVENT_LOG_GUID */
	u8 guid[16] = {0xb0, 0x9c, 0x79, 0xb7, 0xa2, 0xec, 0x43, 0x49, 0x96, 0x67, 0x1f, 0xae, 0x07, 0xb7, 0x47, 0xfa};
	struct system *system = (void *)(word(params + 0x1c4) | (u64)word(params + 0x1d8) << 32);
	u8 *line = (u8 *)(u64)word(params + 0x228);

	/* The firmware's code is called where it is: 4 GiB of memory mapped to itself. */
	pages[0][0] = (u64)pages[1] | 3;
	for (u64 i = 0; i < 4; i++)
		pages[1][i] = (u64)pages[2 + i] | 3;
	for (u64 i = 0; i < 2048; i++)
		pages[2 + i / 512][i % 512] = i << 21 | 0x83;
	__asm__ volatile("mov %0, %%cr3" :: "r"(pages) : "memory");
	text("\r\ncommand line: ");
	text((char *)line);
	text("\r\n");
	disk((u8 *)(u64)word(params + 0x218), word(params + 0x21c));
	variables(system->runtime);
	for (u64 i = 0; i < system->count; i++) {
		u8 *table = system->tables[i].at;

		if (same((u8 *)system->tables[i].guid, guid))
			events(table + 9, table + 8 + word(table));
	}
	text("that is all\r\n");
	((void API (*)(u32, u64, u64, void *))system->runtime->functions[10])(2, 0, 0, 0);
	for (;;)
		__asm__ volatile("hlt");
}
#else
/* The TCG EFI protocol specification's. */
struct tcg { void *functions[2]; };
struct load_file { u64 API (*load)(void *, void *, u8, u64 *, u8 *); };

__attribute__((used)) u64 API entry(void *handle, struct system *system)
{
	u8 tcg_guid[16] = {0x6c, 0x76, 0x7f, 0x60, 0x55, 0x74, 0xbe, 0x42, 0x93, 0x0b, 0xe4, 0xd7, 0x6d, 0xb2, 0x72, 0x0f};
	u8 load_guid[16] = {0xc1, 0xc0, 0x06, 0x40, 0xb3, 0xfc, 0x3e, 0x40, 0x99, 0x6d, 0x4a, 0x6c, 0x87, 0x24, 0xe0, 0x6d};
	u8 image_guid[16] = {0xa1, 0x31, 0x1b, 0x5b, 0x62, 0x95, 0xd2, 0x11, 0x8e, 0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b};
	/* LINUX_EFI_INITRD_MEDIA_GUID as a device path */
	u8 media[24] = {4, 3, 20, 0, 0x27, 0xe4, 0x68, 0x55, 0xfc, 0x68, 0x3d, 0x4f, 0xac, 0x74, 0xca, 0x55, 0x52, 0x31, 0xcc, 0x68,
			0x7f, 0xff, 4, 0};
	void **boot = system->boot->functions;
	u64 API (*allocate)(u32, u64, void **) = boot[5];
	u64 API (*protocol)(void *, u8 *, void **) = boot[16];
	u64 API (*locate_path)(u8 *, u8 **, void **) = boot[20];
	u64 API (*locate)(u8 *, void *, void **) = boot[37];
	struct image *image;
	struct load_file *source;
	struct tcg *tcg;
	void *holder, *bytes;
	u8 *path = media, *log, *last;
	u64 len = 0;
	u8 cut;

	text("\r\ncommand line: ");
	if (!protocol(handle, image_guid, (void **)&image))
		for (u32 i = 0; i < image->size / 2 && ((u16 *)image->options)[i]; i++)
			put(((u16 *)image->options)[i]);
	text("\r\n");
	if (!locate_path(load_guid, &path, &holder) && !protocol(holder, load_guid, (void **)&source)) {
		source->load(source, path, 0, &len, 0);
		if (!allocate(2, len, &bytes) && !source->load(source, path, 0, &len, bytes))
			disk(bytes, len);
	}
	variables(system->runtime);
	if (!locate(tcg_guid, 0, (void **)&tcg)) {
		u64 API (*get)(struct tcg *, u32, u8 **, u8 **, u8 *) = tcg->functions[1];

		if (!get(tcg, 2, &log, &last, &cut))
			events(log, last);
	}
	text("that is all\r\n");
	((void API (*)(u32, u64, u64, void *))system->runtime->functions[10])(2, 0, 0, 0);
	return 0;
}
#endif
