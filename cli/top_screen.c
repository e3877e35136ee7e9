/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The view on a terminal. All is drawn anew at each refresh, key and change of size; ncurses sends what differs. Lines that a small terminal
 * has no room for are left out from below.
 */
#include <locale.h>
#include <ncurses.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#include "text.h"
#include "top.h"

#define FIRST_DELAY 0.3 /* seconds: the first numbers should not keep anybody waiting */

struct screen {
	struct top *top;
	struct view view;
	size_t offset; /* rows scrolled past */
	uint64_t next_ns;
	bool help, done;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* How many of the characters fit in the width of the terminal. */
static int fitting(const wchar_t *w)
{
	int n = 0, columns = 0;

	for (; w[n]; n++) {
		columns += wcwidth(w[n]) > 0 ? wcwidth(w[n]) : 0;
		if (columns > COLS)
			break;
	}
	return n;
}

/* A line that is not there is no error, nor is one that is too long. */
static void put(int y, char *line, attr_t attributes)
{
	size_t room = strlen(line) + 1;
	wchar_t *w = memory_grow(NULL, room, sizeof *w);

	attrset(attributes);
	if (y < LINES && mbstowcs(w, line, room) != (size_t)-1)
		mvaddnwstr(y, 0, w, fitting(w));
	attrset(A_NORMAL);
	free(w);
	free(line);
}

static void draw_titles(const struct table *t, int y)
{
	int start, len;

	put(y, top_table_titles(t), A_REVERSE);
	if (y < LINES && top_table_sort_place(t, &start, &len))
		mvchgat(y, start, len, A_REVERSE | A_BOLD | A_UNDERLINE, 0, NULL);
}

static char *help_line(const struct screen *s)
{
	return text_format("q quit  p %s  < > sort, or by letter: %s", s->top->by_process ? "files" : "processes", top_table_letters());
}

static char *waiting_line(const struct screen *s)
{
	if (s->top->only)
		return text_format("%u has ended; q quits", s->top->pid);
	return text_copy("Nothing is under way; waiting for: faultline run PROGRAM");
}

static int rows_of_table(void)
{
	return LINES - TABLE_HEADLINES - 2 > 0 ? LINES - TABLE_HEADLINES - 2 : 0;
}

static void draw_table(struct screen *s)
{
	struct table t = {.by_process = s->top->by_process, .sort = s->top->sort, .width = COLS};
	size_t room = (size_t)rows_of_table();

	top_table_make(&t, &s->view);
	if (s->offset + room > t.n)
		s->offset = t.n > room ? t.n - room : 0;
	for (int i = 0; i < TABLE_HEADLINES; i++)
		put(i, top_table_headline(&t, &s->view, i), i == 0 ? A_BOLD : A_NORMAL);
	draw_titles(&t, TABLE_HEADLINES);
	for (size_t i = 0; i < room && s->offset + i < t.n; i++)
		put(TABLE_HEADLINES + 1 + (int)i, top_table_line(&t, s->offset + i),
		    top_table_is_idle(&t, s->offset + i) ? A_DIM : A_NORMAL);
	top_table_free(&t);
}

static void draw(struct screen *s)
{
	erase();
	if (s->view.nruns)
		draw_table(s);
	else
		put(0, waiting_line(s), A_NORMAL);
	if (LINES > TABLE_HEADLINES + 2)
		put(LINES - 1, help_line(s), A_DIM);
	refresh();
}

static void refresh_view(struct screen *s)
{
	view_free(&s->view);
	top_next(s->top, &s->view);
	s->next_ns = now_ns() + (uint64_t)(s->top->delay * 1e9);
}

/* ---- Keys ---- */

static void sort_beside(struct screen *s, int step)
{
	s->top->sort = (enum top_column)(((int)s->top->sort + step + COLUMNS) % COLUMNS);
}

static void scroll_by(struct screen *s, int rows)
{
	if (rows < 0 && s->offset < (size_t)-rows)
		s->offset = 0;
	else
		s->offset += (size_t)rows;
}

static void on_letter(struct screen *s, int key)
{
	enum top_column c = key > 0 && key < 128 ? top_table_column((char)key) : COLUMNS;

	if (c != COLUMNS)
		s->top->sort = c;
}

static void on_key(struct screen *s, int key)
{
	switch (key) {
	case 'q':
		s->done = true;
		break;
	case 'p':
		s->top->by_process = !s->top->by_process;
		s->offset = 0;
		break;
	case '<':
	case KEY_LEFT:
		sort_beside(s, -1);
		break;
	case '>':
	case KEY_RIGHT:
		sort_beside(s, 1);
		break;
	case KEY_UP:
		scroll_by(s, -1);
		break;
	case KEY_DOWN:
		scroll_by(s, 1);
		break;
	case KEY_PPAGE:
		scroll_by(s, -rows_of_table());
		break;
	case KEY_NPAGE:
		scroll_by(s, rows_of_table());
		break;
	default:
		on_letter(s, key);
	}
}

/* Until a key, a change of size, or the time. A terminal that has gone ends it. */
static void wait_for_key(struct screen *s)
{
	uint64_t now = now_ns();
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
	int ms = s->next_ns > now ? (int)((s->next_ns - now) / 1000000) + 1 : 0, key;
	bool ready = poll(&p, 1, ms) > 0, any = false;

	while ((key = getch()) != ERR) {
		on_key(s, key);
		any = true;
	}
	if (ready && !any)
		s->done = true;
}

static void show(struct screen *s)
{
	long shown = 0;

	s->next_ns = now_ns() + (uint64_t)(min_u64(1000, (uint64_t)(s->top->delay * 1000)) * FIRST_DELAY * 1e6);
	while (!s->done) {
		if (now_ns() >= s->next_ns) {
			if (s->top->count && shown++ == s->top->count)
				return;
			refresh_view(s);
		}
		draw(s);
		wait_for_key(s);
	}
}

int top_screen(struct top *t)
{
	struct screen s = {.top = t};
	SCREEN *terminal;

	setlocale(LC_CTYPE, "");
	terminal = newterm(NULL, stdout, stdin);
	if (!terminal) {
		complain("top: TERM=%s: no terminal that can be drawn on; set TERM, or use --batch", getenv("TERM") ? getenv("TERM") : "");
		return EXIT_FAULTLINE;
	}
	cbreak();
	noecho();
	nodelay(stdscr, true);
	keypad(stdscr, true);
	curs_set(0);
	show(&s);
	endwin();
	delscreen(terminal);
	view_free(&s.view);
	return 0;
}
