/* An EFI program that stands for the kernel in a unified image: it says on the serial line what the TPM's registers hold, and switches
   the machine off. Code that lies anywhere, and begins with its entry. */
__asm__(".text\n\tjmp entry\n");

#include "efi.h"

/* The TCG EFI protocol specification's. */
struct tcg { void *functions[3]; u64 API (*submit)(struct tcg *, u32, const u8 *, u32, u8 *); };

__attribute__((used)) u64 API entry(void *image, struct system *system)
{
	/* EFI_TCG2_PROTOCOL_GUID */
	u8 guid[16] = {0x6c, 0x76, 0x7f, 0x60, 0x55, 0x74, 0xbe, 0x42, 0x93, 0x0b, 0xe4, 0xd7, 0x6d, 0xb2, 0x72, 0x0f};
	u64 API (*locate)(u8 *, void *, void **) = system->boot->functions[37];
	void API (*reset)(u32, u64, u64, void *) = system->runtime->functions[10];
	u8 banks[2] = {4, 11};
	u8 registers[4] = {4, 11, 12, 13};
	void *found = 0;

	if (locate(guid, 0, &found) || !found)
		text("no TPM\r\n");
	for (u32 i = 0; found && i < 8; i++) {
		struct tcg *tcg = found;
		u8 bank = banks[i / 4], pcr = registers[i % 4];
		/* TPM2_PCR_Read of one register of one bank */
		u8 command[20] = {0x80, 1, 0, 0, 0, 20, 0, 0, 1, 0x7e, 0, 0, 0, 1, 0, bank, 3};
		u8 answer[128];

		command[17 + pcr / 8] = 1 << pcr % 8;
		for (u32 at = 0; at < sizeof answer; at++)
			answer[at] = 0;
		text("pcr ");
		hex(&pcr, 1);
		text(bank == 4 ? " sha1 " : " sha256 ");
		/* Behind the header: a counter, the selection, the count of values, the length of the one. */
		if (!tcg->submit(tcg, sizeof command, command, sizeof answer, answer))
			hex(answer + 30, answer[29]);
		text("\r\n");
	}
	text("that is all\r\n");
	reset(2, 0, 0, 0);
	return 0;
}
