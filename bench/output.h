/* SPDX-License-Identifier: Apache-2.0 */
/* Where plots and figures go: files in a folder, or, to be looked at only, nowhere. */
#ifndef BENCH_OUTPUT_H
#define BENCH_OUTPUT_H

struct plot;

/* Makes the folder unless it is there. */
void output_folder(const char *folder);
/* NULL as folder: written to nowhere, and looked at whether it is whole. */
void write_plot(const struct plot *p, const char *folder, const char *file);
void write_figures(const char *folder, const char *file);

#endif
