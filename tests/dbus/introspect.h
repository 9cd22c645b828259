/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* introspect: an interface of introspection XML in one form, whoever wrote it. */
#ifndef VMM_TESTS_DBUS_INTROSPECT_H
#define VMM_TESTS_DBUS_INTROSPECT_H

/*
 * The members of interface, one line each in the order of xml: kind and name, then arguments
 * and annotations with their attributes in a fixed order. NULL where xml does not have it. The
 * result is the caller's.
 */
char *introspect_interface(const char *xml, const char *interface);

#endif
