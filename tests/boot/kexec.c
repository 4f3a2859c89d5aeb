/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The first program of a kernel that starts another one: loads /kernel with
 * the RAM disk /second by kexec_file_load(2) and restarts into it. No libc.
 *
 *     cc -static -nostdlib -O1 -o init kexec.c
 */
static long call(long number, long a, long b, long c, long d, long e)
{
	long result;
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;

	asm volatile("syscall" : "=a"(result)
		     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
		     : "rcx", "r11", "memory");
	return result;
}

enum { WRITE = 1, OPEN = 2, REBOOT = 169, KEXEC_FILE_LOAD = 320 };

static void say(const char *text)
{
	long len = 0;

	while (text[len])
		len++;
	call(WRITE, 1, (long)text, len, 0, 0);
}

void _start(void)
{
	static const char cmdline[] = "console=ttyS0 earlyprintk=ttyS0 panic=-1 no_timer_check";
	long kernel = call(OPEN, (long)"/kernel", 0, 0, 0, 0);
	long second = call(OPEN, (long)"/second", 0, 0, 0, 0);

	if (call(KEXEC_FILE_LOAD, kernel, second, sizeof(cmdline), (long)cmdline, 0))
		say("KEXEC-NOT-LOADED\n");
	else
		say("KEXEC-LOADED\n");
	/* LINUX_REBOOT_CMD_KEXEC, then LINUX_REBOOT_CMD_RESTART */
	call(REBOOT, 0xfee1dead, 672274793, 0x45584543, 0, 0);
	call(REBOOT, 0xfee1dead, 672274793, 0x1234567, 0, 0);
	for (;;)
		;
}
