/* SPDX-License-Identifier: Apache-2.0 */
#include "output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "figures.h"
#include "plot.h"
#include "util.h"

void output_folder(const char *folder)
{
	if (mkdir(folder, 0777) && errno != EEXIST)
		die(folder);
}

static FILE *open_in(const char *folder, const char *file)
{
	char path[4096];
	FILE *f;

	if (!folder)
		f = tmpfile();
	else {
		snprintf(path, sizeof path, "%s/%s", folder, file);
		f = fopen(path, "we");
	}
	if (!f)
		die(file);
	return f;
}

static void ends_with(FILE *f, const char *end)
{
	char tail[16] = "";
	long n = (long)strlen(end);

	expect(!fseek(f, -n, SEEK_END) && fread(tail, 1, (size_t)n, f) == (size_t)n && !strcmp(tail, end), "what was written is whole");
}

void write_plot(const struct plot *p, const char *folder, const char *file)
{
	FILE *f = open_in(folder, file);

	if (!plot_write(p, f))
		die(file);
	if (!folder)
		ends_with(f, "</svg>\n");
	if (fclose(f))
		die(file);
}

void write_figures(const char *folder, const char *file)
{
	FILE *f = open_in(folder, file);

	figures_json(f);
	if (!folder)
		ends_with(f, "  ]\n}\n");
	if (fclose(f))
		die(file);
}
