/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A plugin of QEMU's TCG: counts the instructions that the guest executes from
 * the first time that it comes to one place up to the first time after that
 * that it comes to another, then ends QEMU. One CPU. See count.sh.
 *
 * Arguments: from=PLACE, to=PLACE, out=FILE, hot=COUNT. A place is an address
 * (0x...), or the bytes of instructions that stand there (bytes:c0ffee...).
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is used here of qemu-plugin.h (version 1, QEMU 4.2 and later; Debian's
 * 7.2 and later have plugins on), which no package of Debian 12 has. */
typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { NO_REGISTERS = 0, ADD_U64 = 0 };
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned int, void *), int,
						   void *);
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int, void *, uint64_t);

int qemu_plugin_version = 1;

struct place {
	uint64_t address;
	unsigned char bytes[64];
	size_t len;		/* of the bytes; 0: the address counts */
};

/* A block of instructions as QEMU translated it, for `hot`. */
struct block {
	uint64_t address, len, runs;
};

static struct place from, to;
static const char *out;
static unsigned long hot;
static uint64_t count, count_before;
static bool has_begun;
static struct block *blocks[1 << 16];
static size_t block_count;

static bool parse(struct place *place, const char *text)
{
	if (strncmp(text, "bytes:", 6) != 0) {
		char *end;
		place->address = strtoull(text, &end, 0);
		return *text && !*end;
	}
	for (text += 6; text[0] && text[1] && place->len < sizeof(place->bytes); text += 2)
		if (sscanf(text, "%2hhx", &place->bytes[place->len++]) != 1)
			return false;
	return place->len && !*text;
}

/* Is the place where instruction `index` of these begins? */
static bool is_at(const struct place *place, const struct qemu_plugin_tb *tb, size_t index)
{
	struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, index);
	size_t seen = 0;
	if (!place->len)
		return qemu_plugin_insn_vaddr(insn) == place->address;
	for (; index < qemu_plugin_tb_n_insns(tb) && seen < place->len; index++) {
		insn = qemu_plugin_tb_get_insn(tb, index);
		size_t len = qemu_plugin_insn_size(insn);
		if (len > place->len - seen)
			len = place->len - seen;
		if (memcmp(qemu_plugin_insn_data(insn), place->bytes + seen, len) != 0)
			return false;
		seen += len;
	}
	return seen == place->len;
}

static void begin(unsigned int cpu, void *data)
{
	(void)cpu;
	(void)data;
	if (has_begun)
		return;
	has_begun = true;
	count_before = count;
	for (size_t index = 0; index < block_count; index++)
		blocks[index]->runs = 0;
}

static int hotter(const void *a, const void *b)
{
	const struct block *left = *(struct block *const *)a, *right = *(struct block *const *)b;
	uint64_t l = left->len * left->runs, r = right->len * right->runs;
	return l < r ? 1 : l > r ? -1 : 0;
}

static void end(unsigned int cpu, void *data)
{
	(void)cpu;
	(void)data;
	if (!has_begun)
		return;
	FILE *file = fopen(out, "w");
	if (!file)
		exit(1);
	fprintf(file, "%llu\n", (unsigned long long)(count - count_before));
	qsort(blocks, block_count, sizeof(*blocks), hotter);
	for (size_t index = 0; index < hot && index < block_count; index++) {
		const struct block *block = blocks[index];
		fprintf(file, "%#12llx %4llu instructions, %10llu times\n", (unsigned long long)block->address,
			(unsigned long long)block->len, (unsigned long long)block->runs);
	}
	fclose(file);
	exit(0);
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb)
{
	(void)id;
	size_t len = qemu_plugin_tb_n_insns(tb);
	for (size_t index = 0; index < len; index++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, index);
		/* What is called comes before what is added: the place itself counts where one begins, not where one ends. */
		if (is_at(&from, tb, index))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, begin, NO_REGISTERS, NULL);
		if (is_at(&to, tb, index))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, end, NO_REGISTERS, NULL);
		qemu_plugin_register_vcpu_insn_exec_inline(insn, ADD_U64, &count, 1);
	}
	if (hot && len && block_count < sizeof(blocks) / sizeof(*blocks)) {
		struct qemu_plugin_insn *first = qemu_plugin_tb_get_insn(tb, 0);
		struct block *block = calloc(1, sizeof(*block));
		if (!block)
			return;
		block->address = qemu_plugin_insn_vaddr(first);
		block->len = len;
		blocks[block_count++] = block;
		qemu_plugin_register_vcpu_insn_exec_inline(first, ADD_U64, &block->runs, 1);
	}
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	bool good = true;
	(void)info;
	for (int index = 0; index < argc; index++) {
		if (!strncmp(argv[index], "from=", 5))
			good &= parse(&from, argv[index] + 5);
		else if (!strncmp(argv[index], "to=", 3))
			good &= parse(&to, argv[index] + 3);
		else if (!strncmp(argv[index], "out=", 4))
			out = strdup(argv[index] + 4);
		else if (!strncmp(argv[index], "hot=", 4))
			hot = strtoul(argv[index] + 4, NULL, 10);
		else
			good = false;
	}
	if (!good || !out) {
		fprintf(stderr, "count.c: wants from=PLACE,to=PLACE,out=FILE\n");
		return 1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
