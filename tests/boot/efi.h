/* What the EFI programs of these tests share: types, tables and protocols by the UEFI specification 2.10, whose functions go by number,
   and words on the serial line. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
#define API __attribute__((ms_abi))

struct header { u64 signature; u32 revision, size, crc, reserved; };
struct runtime { struct header header; void *functions[14]; };
struct boot { struct header header; void *functions[60]; };
struct table { u64 guid[2]; void *at; };
struct system {
	struct header header; void *vendor; u32 revision; void *consoles[6];
	struct runtime *runtime; struct boot *boot; u64 count; struct table *tables;
};
struct image { u32 revision; void *parent, *system, *device, *path, *reserved; u32 size; void *options; };

static void put(u8 c)
{
	u8 status;

	do
		__asm__ volatile("inb %1, %0" : "=a"(status) : "Nd"((u16)0x3fd));
	while (!(status & 0x20));
	__asm__ volatile("outb %0, %1" :: "a"(c), "Nd"((u16)0x3f8));
}

static void text(const char *text)
{
	while (*text)
		put(*text++);
}

static inline void hex(const u8 *bytes, u32 len)
{
	for (u32 i = 0; i < 2 * len; i++) {
		u8 digit = i % 2 ? bytes[i / 2] & 15 : bytes[i / 2] >> 4;

		put(digit < 10 ? '0' + digit : 'a' + digit - 10);
	}
}
