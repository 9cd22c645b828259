/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* dbus: workers that say they are another, or say what they should not. */
#include "life.h"

#include <string.h>

#include "base/util.h"
#include "harness.h"

START_TEST(test_impostor)
{
	DBusConnection *bus = bus_open_watching();
	CLEANUP(free_p) char *log = NULL;

	put_machine("impostor", "", "");
	put_machine("web", "", "");
	call_ok(bus, MANAGER, MANAGER_I, "Reload", END);
	start_machine(bus, "impostor", "failed");
	wait_state(bus, "impostor", "failed");
	/* Who it said it was is not touched. */
	expect_string(bus, "web", "State", "inactive");
	ck_assert_uint_eq(get_uint(bus, "web", "Leader"), 0);
	log = env_log();
	ck_assert_ptr_nonnull(strstr(log, "refused a peer on the broker"));
	ck_assert_ptr_nonnull(strstr(log, "vmm@impostor.service says that it is \"web\""));
	bus_close(bus);
}
END_TEST

START_TEST(test_garbage)
{
	DBusConnection *bus = bus_open_watching();
	const char *name = "garbage";

	put_machine("garbage", "garbage", "");
	start_machine(bus, "garbage", "done");
	call_fails(bus, "org.vmmd1.MachineNotRunning", NULL, MANAGER, MANAGER_I, "PauseMachine",
		STRING(name), U64(none), END);
	/* Without control it goes on, and can be stopped. */
	expect_string(bus, "garbage", "State", "running");
	expect_string(bus, "garbage", "GuestState", "unknown");
	stop_machine(bus, "garbage", "", "done");
	bus_close(bus);
}
END_TEST

START_TEST(test_flood)
{
	DBusConnection *bus = bus_open_watching();
	uint64_t began, took;

	put_machine("flood", "flood", "");
	start_machine(bus, "flood", "done");
	began = vmm_base_now_nsec();
	for (int i = 0; i < 20; i++)
		expect_string(bus, "flood", "Name", "flood");
	took = vmm_base_now_nsec() - began;
	ck_assert_msg(
		took < UINT64_C(5000000000), "20 calls took %ju ms", (uintmax_t)took / 1000000);
	stop_machine(bus, "flood", "", "done");
	bus_close(bus);
}
END_TEST

/* What everybody may ask does not take the places of what few may do. */
START_TEST(test_many_questions)
{
	static const char *const questions[] = { "GetMachineStats", "GetMachineMemory",
		"ListMachineDevices" };
	DBusConnection *bus = bus_open_watching(), *other = bus_open();
	DBusPendingCall *pending[120];
	const char *name = "mute";

	put_machine("mute", "mute", "");
	start_machine(bus, "mute", "done");
	for (size_t i = 0; i < ARRAY_SIZE(pending); i++)
		pending[i] = call_async(other, MANAGER, MANAGER_I,
			questions[i % ARRAY_SIZE(questions)], STRING(name), END);
	/* They have come before. */
	call_fails(other, "org.vmmd1.LimitsExceeded", NULL, MANAGER, MANAGER_I, questions[0],
		STRING(name), END);
	call_ok(bus, MANAGER, MANAGER_I, "PauseMachine", STRING(name), U64(none), END);
	call_ok(bus, MANAGER, MANAGER_I, "ResumeMachine", STRING(name), U64(none), END);
	stop_machine(bus, "mute", "acpi", "done");
	for (size_t i = 0; i < ARRAY_SIZE(pending); i++) {
		dbus_pending_call_cancel(pending[i]);
		dbus_pending_call_unref(pending[i]);
	}
	bus_close(other);
	bus_close(bus);
}
END_TEST

START_TEST(test_bad_text)
{
	DBusConnection *bus = bus_open_watching();
	const char *name = "badtext";

	put_machine("badtext", "broken", "");
	start_machine(bus, "badtext", "done");
	/* A text that is not UTF-8 would make the bus cut vmmd off. */
	call_fails(bus, "org.freedesktop.DBus.Error.IOError", NULL, MANAGER, MANAGER_I,
		"PauseMachine", STRING(name), U64(none), END);
	expect_string(bus, "badtext", "State", "running");
	stop_machine(bus, "badtext", "force", "done");
	bus_close(bus);
}
END_TEST

void add_hostile_tests(TCase *tcase)
{
	tcase_add_test(tcase, test_impostor);
	tcase_add_test(tcase, test_garbage);
	tcase_add_test(tcase, test_flood);
	tcase_add_test(tcase, test_bad_text);
	tcase_add_test(tcase, test_many_questions);
}
