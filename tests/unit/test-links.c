/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* links: whose symbolic links a path of a .vm file may follow, and that no key with a path forgets
 * it. */
#include "links.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/util.h"
#include "resources.h"
#include "temporary-dir.h"
#include "unit.h"

static struct vm_config *load(const char *text)
{
	struct config_messages messages = {};
	struct vm_config *config = NULL;

	ck_assert_int_eq(
		config_load_text(text, strlen(text), "t.vm", "web", &messages, &config), 0);
	config_messages_finish(&messages);
	return config;
}

/* A symbolic link NAME in the directory, to TARGET. */
static void make_link(const char *name, const char *target, uid_t owner)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	ck_assert_int_eq(symlink(target, path), 0);
	ck_assert_int_eq(lchown(path, owner, owner), 0);
}

static const struct {
	const char *path, *otherwise; /* what is opened, where that is not the same */
	int r;
} links[] = {
	{ "k", NULL, 0 },
	{ "./sub/..//k", NULL, 0 },
	/* Links of root, and of the file's own owner. */
	{ "root-to-k", NULL, 0 },
	{ "root-to-theirs", NULL, 0 },
	{ "theirs-to-theirs", NULL, 0 },
	{ "root-to-sub/k", NULL, 0 },
	{ "../..", NULL, 0 },
	{ "root-to-top", NULL, 0 },
	/* Of somebody else: at the end, by a second one, on the way, and upwards. */
	{ "theirs-to-k", NULL, -EXDEV },
	{ "root-to-bad", NULL, -EXDEV },
	{ "theirs-to-sub/k", NULL, -EXDEV },
	{ "theirs-to-sub/../theirs-to-sub/k", NULL, -EXDEV },
	{ "theirs-up/passwd", NULL, -EXDEV },
	{ "others-to-theirs", NULL, -EXDEV },
	/* They lead elsewhere, or nowhere, by the time of the look. */
	{ "root-to-k", "sub/k", -ESTALE },
	{ "theirs-to-theirs", "k", -ESTALE },
	{ "nothing", "k", -ENOENT },
	{ "circle", "k", -ELOOP },
	{ "k/below", "k", -ENOTDIR },
};

START_TEST(test_links)
{
	char path[256], opened[256];
	struct stat st;

	make_file("k", 1);
	make_file("theirs", 1);
	snprintf(path, sizeof(path), "%s/theirs", dir);
	ck_assert_int_eq(chown(path, 65534, 65534), 0);
	snprintf(path, sizeof(path), "%s/sub", dir);
	ck_assert_int_eq(mkdir(path, 0755), 0);
	make_file("sub/k", 1);
	snprintf(path, sizeof(path), "%s/k", dir);
	make_link("root-to-k", path, 0);
	make_link("root-to-theirs", "theirs", 0);
	make_link("theirs-to-theirs", "theirs", 65534);
	make_link("others-to-theirs", "theirs", 65533);
	make_link("root-to-sub", "sub", 0);
	make_link("theirs-to-k", path, 65534);
	make_link("root-to-bad", "theirs-to-k", 0);
	make_link("theirs-to-sub", "sub", 65534);
	make_link("theirs-up", "/etc/", 65534);
	make_link("root-to-top", "/", 0);
	make_link("circle", "circle", 0);

	snprintf(path, sizeof(path), "%s/%s", dir, links[_i].path);
	snprintf(opened, sizeof(opened), "%s/%s", dir,
		links[_i].otherwise ? links[_i].otherwise : links[_i].path);
	ck_assert_int_eq(stat(opened, &st), 0);
	ck_assert_int_eq(links_check(path, &st), links[_i].r);
	ck_assert_int_eq(links_check("k", &st), -EINVAL);
}
END_TEST

#define BOOT "[Boot]\nKernel=%1$s/k\n"

/* Each key with a path. %2$s is whose link it is. */
static const char *const keys[] = {
	"[Boot]\nKernel=%1$s/%2$s-k\n",
	"[Boot]\nKernel=%1$s/%2$s-here/k\n",
	BOOT "Initrd=%1$s/%2$s-k\n",
	BOOT "[Drive]\nName=d\nPath=%1$s/%2$s-k\n",
	BOOT "[Drive]\nName=d\nPath=%1$s/%2$s-k\nReadOnly=yes\n",
	BOOT "[Drive]\nName=d\nPath=%1$s/%2$s-here/k\nFormat=qcow2\n",
	BOOT "[Drive]\nName=d\nSocket=%1$s/%2$s-socket\n",
	BOOT "[Network]\nName=n\nSocket=%1$s/%2$s-here/socket\n",
	BOOT "[Share]\nTag=t\nPath=%1$s/%2$s-here\n",
	BOOT "[Share]\nTag=t\nPath=%1$s/%2$s-here/sub\n",
	BOOT "[Share]\nTag=t\nSocket=%1$s/%2$s-socket\n",
};

START_TEST(test_links_of_keys)
{
	static const char *const owners[] = { "root", "theirs" };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char path[128];

	make_file("k", 512);
	snprintf(path, sizeof(path), "%s/sub", dir);
	ck_assert_int_eq(mkdir(path, 0755), 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", dir);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listener, 4), 0);
	for (size_t i = 0; i < ARRAY_SIZE(owners); i++) {
		uid_t owner = i == 0 ? 0 : 65534;

		snprintf(path, sizeof(path), "%s-k", owners[i]);
		make_link(path, "k", owner);
		snprintf(path, sizeof(path), "%s-here", owners[i]);
		make_link(path, dir, owner);
		snprintf(path, sizeof(path), "%s-socket", owners[i]);
		make_link(path, "socket", owner);
	}
	for (size_t i = 0; i < ARRAY_SIZE(owners); i++) {
		struct vm_config *config;
		char *file;

		ck_assert_int_gt(asprintf(&file, keys[_i], dir, owners[i]), 0);
		config = load(file);
		for (int mode = RESOURCES_CHECK; mode <= RESOURCES_TAKE; mode++) {
			const struct resources_order order = { .mode = (enum resources_mode)mode };
			struct resources_result result;
			char text[VMM_TEXT_SIZE];

			resources_take(config, &order, &result, text, sizeof(text));
			ck_assert_msg((strstr(text, "a symbolic link that is not root's") !=
					      NULL) == (i == 1),
				"%s: %s", file, text);
			ck_assert(i == 0 || result.n_fds == 0);
			for (size_t j = 0; j < result.n_fds; j++)
				vmm_base_close(result.fds[j]);
		}
		vm_config_free(config);
		free(file);
	}
	vmm_base_close(listener);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("links");
	TCase *tcase = unit_case(suite, "links");

	if (geteuid() != 0) {
		fprintf(stderr, "needs root, who alone makes links of somebody else\n");
		return 77;
	}
	tcase_add_checked_fixture(tcase, make_dir, remove_dir);
	tcase_add_loop_test(tcase, test_links, 0, ARRAY_SIZE(links));
	/* The first that is opened. */
	if (access("/dev/kvm", R_OK | W_OK) == 0)
		tcase_add_loop_test(tcase, test_links_of_keys, 0, ARRAY_SIZE(keys));
	return unit_run(suite);
}
