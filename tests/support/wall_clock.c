/* Preloaded into a gateway: a wall clock that is off by some seconds, and a kernel that says whether it is synchronised.
   The file named by FIELDPOST_TEST_CLOCK holds both numbers; it is read at each look. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

static void look(long *seconds, int *synced) {
    char text[64] = "";
    const char *path = getenv("FIELDPOST_TEST_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    *seconds = 0;
    *synced = 1;
    if (file < 0) return;
    if (read(file, text, sizeof text - 1) > 0) sscanf(text, "%ld %d", seconds, synced);
    close(file);
}

int clock_gettime(clockid_t id, struct timespec *time) {
    long seconds;
    int synced, result = (int)syscall(SYS_clock_gettime, id, time);
    if (result == 0 && id == CLOCK_REALTIME) {
        look(&seconds, &synced);
        time->tv_sec += seconds;
    }
    return result;
}

int adjtimex(struct timex *timex) {
    long seconds;
    int synced;
    memset(timex, 0, sizeof *timex);
    look(&seconds, &synced);
    return synced ? TIME_OK : TIME_ERROR;
}
