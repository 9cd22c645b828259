/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* config: which .vm files and drop-ins count, in which order, and what is no such file. */
#include <sys/stat.h>

#include "config-fixture.h"
#include "temporary-dir.h"

static void put(const char *path, const char *text)
{
	char command[512], full[256];
	FILE *f;

	snprintf(command, sizeof(command), "mkdir -p $(dirname %s%s)", dir, path);
	ck_assert_int_eq(system(command), 0);
	snprintf(full, sizeof(full), "%s%s", dir, path);
	f = fopen(full, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static int load_root(const char *name, struct vm_config **ret, char **ret_messages)
{
	struct config_messages messages = {};
	int r = config_load(dir, name, &messages, ret);

	*ret_messages = messages_text(&messages);
	config_messages_finish(&messages);
	return r;
}

START_TEST(test_search_order)
{
	CLEANUP(config_free_p) struct vm_config *lib = NULL, *run = NULL, *etc = NULL;
	CLEANUP(free_p) char *m1 = NULL, *m2 = NULL, *m3 = NULL, *m4 = NULL, *path = NULL;
	char link[128];

	put("/usr/lib/vmm/web.vm", "[Boot]\nKernel=/lib\n");
	ck_assert_int_eq(load_root("web", &lib, &m1), 0);
	ck_assert_str_eq(lib->boot.kernel.value, "/lib");
	ck_assert(!lib->transient);
	put("/run/vmm/web.vm", "[Boot]\nKernel=/run\n");
	ck_assert_int_eq(load_root("web", &run, &m2), 0);
	ck_assert_str_eq(run->boot.kernel.value, "/run");
	ck_assert(run->transient);
	put("/etc/vmm/web.vm", "[Boot]\nKernel=/etc\n");
	ck_assert_int_eq(load_root("web", &etc, &m3), 0);
	ck_assert_str_eq(etc->boot.kernel.value, "/etc");
	ck_assert_uint_ne(etc->fingerprint, run->fingerprint);
	ck_assert_int_eq(load_root("none", &etc, &m4), -ENOENT);

	/* Masked. */
	snprintf(link, sizeof(link), "%s/etc/vmm/web.vm", dir);
	ck_assert_int_eq(unlink(link), 0);
	ck_assert_int_eq(symlink("/dev/null", link), 0);
	ck_assert_int_eq(config_find(dir, "web", &path), -ENOENT);
	ck_assert_int_eq(config_find(dir, "../web", &path), -EINVAL);
}
END_TEST

START_TEST(test_dropins)
{
	CLEANUP(config_free_p) struct vm_config *c = NULL;
	CLEANUP(free_p) char *messages = NULL;
	char link[128];

	put("/etc/vmm/web.vm",
		"[Machine]\nCPUs=2\n" BOOT "CommandLine=a\n[Drive]\nName=root\nPath=/r\n");
	put("/usr/lib/vmm/web.vm.d/10-a.conf", "[Machine]\nCPUs=3\nMemory=1G\n");
	put("/etc/vmm/web.vm.d/10-a.conf", "[Machine]\nCPUs=4\n[Drive]\nName=root\nReadOnly=yes\n");
	put("/run/vmm/web.vm.d/20-b.conf",
		"[Boot]\nCommandLine=b\n[Drive]\nName=data\nPath=/d\n[Service]\nCPUQuota=50%\n");
	put("/run/vmm/web.vm.d/30-c.conf", "[Machine]\nCPUs=64\n");
	snprintf(link, sizeof(link), "%s/etc/vmm/web.vm.d/30-c.conf", dir);
	ck_assert_int_eq(symlink("/dev/null", link), 0);
	put("/run/vmm/web.vm.d/ignored.txt", "[Machine]\nCPUs=63\n");

	ck_assert_int_eq(load_root("web", &c, &messages), 0);
	ck_assert_str_eq(messages, "");
	ck_assert_uint_eq(c->n_files, 3);
	ck_assert_uint_eq(c->machine.cpus.value, 4);
	ck_assert_uint_eq(c->machine.cpus.where.file, 1);
	ck_assert_uint_eq(c->machine.memory_bytes.value, UINT64_C(256) << 20);
	ck_assert_str_eq(c->boot.command_line.value, "a b");
	ck_assert_uint_eq(c->n_drives, 2);
	ck_assert_uint_eq(c->drives[0].read_only.value, 1);
	ck_assert_str_eq(c->drives[0].path.value, "/r");
	ck_assert_str_eq(c->drives[1].name.value, "data");
	ck_assert_str_eq(c->pass[CONFIG_PASS_SERVICE].lines[0].text, "CPUQuota=50%");
}
END_TEST

START_TEST(test_bad_files)
{
	CLEANUP(config_free_p) struct vm_config *c = NULL;
	CLEANUP(free_p) char *m1 = NULL, *m2 = NULL, *m3 = NULL, *m4 = NULL, *expected = NULL;
	char path[128];

	put("/etc/vmm/x", "");
	snprintf(path, sizeof(path), "%s/etc/vmm/dir.vm", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(load_root("dir", &c, &m1), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(m1, "dir.vm: this is a directory\n"));
	snprintf(path, sizeof(path), "%s/etc/vmm/pipe.vm", dir);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(load_root("pipe", &c, &m2), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(m2, "pipe.vm: this is not a regular file\n"));
	snprintf(path, sizeof(path), "%s/etc/vmm/gone.vm", dir);
	ck_assert_int_eq(symlink("/nonexistent", path), 0);
	ck_assert_int_eq(load_root("gone", &c, &m3), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(m3, "gone.vm: cannot be opened: No such file or directory\n"));
	/* That alone: what it lacks is nothing that it could have. */
	ck_assert_ptr_null(strstr(m1, "required"));
	ck_assert_ptr_null(strstr(m2, "required"));
	ck_assert_ptr_null(strstr(m3, "required"));
	/* A message names the drop-in it is about. */
	put("/etc/vmm/web.vm", BOOT);
	put("/etc/vmm/web.vm.d/a.conf", "\n[Machine]\nCPUs=none\n");
	ck_assert_int_eq(load_root("web", &c, &m4), -EBADMSG);
	ck_assert_int_ge(asprintf(&expected,
				 "E %s/etc/vmm/web.vm.d/a.conf:3: [Machine] CPUs=: \"none\" is not "
				 "a number\n",
				 dir),
		0);
	ck_assert_str_eq(m4, expected);
	ck_assert_ptr_null(c);
}
END_TEST

START_TEST(test_list)
{
	struct config_messages messages = {};
	CLEANUP(free_p) char *text = NULL;
	char **names;
	char link[128];
	size_t n;

	put("/etc/vmm/web.vm", "");
	put("/usr/lib/vmm/web.vm", "");
	put("/run/vmm/db.vm", "");
	put("/etc/vmm/.vm", "");
	put("/etc/vmm/notes.txt", "");
	put("/etc/vmm/Big.vm", "");
	put("/usr/lib/vmm/masked.vm", "");
	snprintf(link, sizeof(link), "%s/etc/vmm/masked.vm", dir);
	ck_assert_int_eq(symlink("/dev/null", link), 0);
	ck_assert_int_eq(config_list(dir, &messages, &names, &n), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_str_eq(names[0], "db");
	ck_assert_str_eq(names[1], "web");
	ck_assert_uint_eq(messages.n_items, 1);
	text = messages_text(&messages);
	ck_assert_ptr_nonnull(strstr(text, "/etc/vmm/Big.vm: ignored: the file's name is not a "));
	config_names_free(names, n);
	config_messages_finish(&messages);
}
END_TEST

void config_files_add(Suite *suite)
{
	TCase *files = unit_case(suite, "files");

	tcase_add_checked_fixture(files, make_dir, remove_dir);
	tcase_add_test(files, test_search_order);
	tcase_add_test(files, test_dropins);
	tcase_add_test(files, test_bad_files);
	tcase_add_test(files, test_list);
}
