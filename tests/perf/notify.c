/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * notify: the least that a unit of Type=notify can be: says READY=1 and waits for its end. What a
 * start of it costs is systemd's, see units-ready.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t length = path ? strlen(path) : 0;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || length == 0 || length >= sizeof(address.sun_path))
		return EXIT_FAILURE;
	memcpy(address.sun_path, path, length);
	if (address.sun_path[0] == '@')
		address.sun_path[0] = '\0';
	if (sendto(fd, "READY=1", 7, MSG_NOSIGNAL, (const struct sockaddr *)&address,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) != 7)
		return EXIT_FAILURE;
	for (;;)
		pause();
}
