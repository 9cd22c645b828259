/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* config: the list of messages. */
#include <string.h>

#include "base/util.h"
#include "config-internal.h"

static void message_finish(struct config_message *message)
{
	free(message->file);
	free(message->key);
	free(message->text);
}

void config_messages_finish(struct config_messages *messages)
{
	for (size_t i = 0; i < messages->n_items; i++)
		message_finish(&messages->items[i]);
	free(messages->items);
	*messages = (struct config_messages){};
}

int config_messages_vadd(struct config_messages *messages, enum config_severity severity,
	const char *file, unsigned line, const char *key, const char *format, va_list ap)
{
	struct config_message message = { .severity = severity, .line = line };
	struct config_message *items;

	if (severity == CONFIG_ERROR)
		messages->n_errors++;
	if (messages->n_items >= CONFIG_MAX_MESSAGES)
		return 0;

	if (vasprintf(&message.text, format, ap) < 0)
		return -ENOMEM;
	message.file = strdup(file ? file : "");
	message.key = strdup(key ? key : "");
	items = reallocarray(messages->items, messages->n_items + 1, sizeof(*items));
	if (items)
		messages->items = items;
	if (!message.file || !message.key || !items) {
		message_finish(&message);
		return -ENOMEM;
	}
	items[messages->n_items++] = message;
	return 0;
}

int config_messages_add(struct config_messages *messages, enum config_severity severity,
	const char *file, unsigned line, const char *key, const char *format, ...)
{
	va_list ap;
	int r;

	va_start(ap, format);
	r = config_messages_vadd(messages, severity, file, line, key, format, ap);
	va_end(ap);
	return r;
}

int config_refuse(const struct config_checker *checker, struct config_where where, const char *key,
	const char *format, ...)
{
	va_list ap;
	int r;

	va_start(ap, format);
	r = config_messages_vadd(checker->messages, CONFIG_ERROR,
		config_file_of(checker->config, where), where.line, key, format, ap);
	va_end(ap);
	return r;
}

int config_message_format(const struct config_message *message, char **ret)
{
	char line[16] = "";
	char *text;

	if (message->line > 0)
		snprintf(line, sizeof(line), ":%u", message->line);
	if (asprintf(&text, "%s%s%s%s%s%s", message->file, line, message->file[0] ? ": " : "",
		    message->key, message->key[0] ? ": " : "", message->text) < 0)
		return -ENOMEM;
	*ret = text;
	return 0;
}

const struct config_message *config_messages_first_error(const struct config_messages *messages)
{
	for (size_t i = 0; i < messages->n_items; i++)
		if (messages->items[i].severity == CONFIG_ERROR)
			return &messages->items[i];
	return NULL;
}
