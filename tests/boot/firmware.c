/* Firmware that is not as one would have it: an EFI program that starts \image.efi of its own disk, after it has changed one thing (by -D).
   Says on the serial line what the image did. */
__asm__(".text\n\tjmp entry\n");

#include "efi.h"

struct file { u64 revision; void *functions[10]; };
struct volume { u64 revision; u64 API (*open)(struct volume *, struct file **); };
typedef u64 API change(void *, u64, u64, u64);
struct attributes { void *get; change *set, *clear; };

static void number(u64 value)
{
	text(" 0x");
	for (int at = 60; at >= 0; at -= 4)
		if (value >> at || !at)
			put("0123456789abcdef"[value >> at & 15]);
}

#ifdef GROWS
/* A disk with one file, whose length is 5 twice, and then 9. */
static u32 lengths, opened, closed;
static struct file fake;

static u64 API open_file(struct file *file, struct file **found, u16 *name, u64 mode, u64 attributes)
{
	opened++;
	*found = &fake;
	return 0;
}

static u64 API close_file(struct file *file)
{
	closed++;
	return 0;
}

static u64 API read_file(struct file *file, u64 *len, u8 *to)
{
	for (u64 i = 0; i < *len; i++)
		to[i] = 'x';
	return 0;
}

static u64 API get_position(struct file *file, u64 *position)
{
	*position = lengths++ < 2 ? 5 : 9;
	return 0;
}

static u64 API set_position(struct file *file, u64 position)
{
	return 0;
}

static u64 API open_volume(struct volume *volume, struct file **root)
{
	return open_file(0, root, 0, 0, 0);
}
static struct volume disk;
#endif

#ifdef NULLS
/* EFI_RNG_PROTOCOL: seven is as good a number as any. */
static u64 API random_numbers(void *rng, void *algorithm, u64 len, u8 *to)
{
	while (len--)
		*to++ = 7;
	return 0;
}
static void *rng[2];
static struct table tables[64];
#endif

#ifdef ATTRIBUTES
static struct attributes real, *hooked, own;
static u64 start, end;

static u64 say(const char *what, u64 at, u64 len, u64 which, u64 status)
{
	if (at >= start && at + len <= end) {
		text(what);
		number(at - start);
		number(at - start + len);
		number(which);
		number(status);
		text("\r\n");
	}
	return status;
}

static u64 API set_attributes(void *protocol, u64 at, u64 len, u64 which)
{
	return say("set", at, len, which, real.set ? real.set(protocol, at, len, which) : 0);
}

static u64 API clear_attributes(void *protocol, u64 at, u64 len, u64 which)
{
	return say("clear", at, len, which, real.clear ? real.clear(protocol, at, len, which) : 0);
}
#endif

__attribute__((used)) u64 API entry(void *handle, struct system *system)
{
	u64 image_guid[2] = {0x11d295625b1b31a1, 0x3b7269c9a0003f8e};
	u64 volume_guid[2] = {0x11d26459964e5b22, 0x3b7269c9a000398e};
	void **boot = system->boot->functions;
	u64 API (*allocate)(u32, u64, void **) = boot[5];
	u64 API (*install)(void **, u64 *, u32, void *) = boot[13];
	u64 API (*protocol)(void *, u64 *, void **) = boot[16];
	u64 API (*load)(u8, void *, void *, void *, u64, void **) = boot[22];
	u64 API (*launch)(void *, u64 *, u16 **) = boot[23];
	u64 API (*locate)(u64 *, void *, void **) = boot[37];
	u16 name[11] = {'\\', 'i', 'm', 'a', 'g', 'e', '.', 'e', 'f', 'i', 0};
	struct image *image;
	struct volume *volume;
	struct file *root, *file;
	void *bytes, *started, *device = 0;
	u64 len = 8 << 20;

	(void)install, (void)locate, (void)device;
	protocol(handle, image_guid, (void **)&image);
	protocol(image->device, volume_guid, (void **)&volume);
	volume->open(volume, &root);
	if (((u64 API (*)(struct file *, struct file **, u16 *, u64, u64))root->functions[0])(root, &file, name, 1, 0)) {
		text("no image\r\n");
		return 1;
	}
	allocate(2, len, &bytes);
	((u64 API (*)(struct file *, u64 *, void *))file->functions[3])(file, &len, bytes);
	if (load(0, handle, 0, bytes, len, &started)) {
		text("it is not loaded\r\n");
		return 1;
	}
	protocol(started, image_guid, (void **)&image);

#ifdef GROWS
	fake.functions[0] = open_file;
	fake.functions[1] = close_file;
	fake.functions[3] = read_file;
	fake.functions[5] = get_position;
	fake.functions[6] = set_position;
	disk.open = open_volume;
	install(&device, volume_guid, 0, &disk);
	image->device = device;
#endif
#ifdef NULLS
	u64 rng_guid[2] = {0x433deade3152bca5, 0x441f29dc1cc02e86};
	/* A random seed, the TPM's last events, ACPI's tables of two versions */
	u64 guids[4][2] = {
		{0x42f27ceb1ce1e5bc, 0x7bf580f1ad8ae581}, {0x425430e21e2ed096, 0x2523f8be3b8689bd},
		{0x11d3e4f18868e871, 0x81883cc7800022bc}, {0x11d32d88eb9d2d30, 0x4dc13f279000169a},
	};

	rng[1] = random_numbers;
	install(&device, rng_guid, 0, rng);
	for (u32 i = 0; i < 4; i++) {
		tables[i].guid[0] = guids[i][0];
		tables[i].guid[1] = guids[i][1];
	}
	for (u32 i = 0; i < system->count && i < 60; i++)
		tables[4 + i] = system->tables[i];
	system->tables = tables;
	system->count += 4;
#endif
#ifdef ATTRIBUTES
	u64 guid[2] = {0x4b4a40ecf4560cf6, 0x89b1d0571dbf92a1};

	start = (u64)*(void **)((u8 *)image + 64);
	end = start + *(u64 *)((u8 *)image + 72);
	if (locate(guid, 0, (void **)&hooked)) {
		text("attributes of the test\r\n");
		hooked = &own;
		install(&device, guid, 0, hooked);
	} else {
		text("attributes of the firmware\r\n");
		real = *hooked;
	}
	hooked->set = set_attributes;
	hooked->clear = clear_attributes;
#endif
	text("now the image\r\n");
	len = launch(started, 0, 0);
	text("status");
	number(len);
	text("\r\n");
#ifdef GROWS
	text("opened");
	number(opened);
	text(", closed");
	number(closed);
	text("\r\n");
#endif
	text("that is all\r\n");
	return len;
}
