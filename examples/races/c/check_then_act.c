// Check, then act: whoever finds no index writes one. Two processes do, if the first is slow between the two.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void spend(double seconds) {
    struct timespec begun, now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begun);
    do clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    while (now.tv_sec - begun.tv_sec + (now.tv_nsec - begun.tv_nsec) / 1e9 < seconds);
}

static void rest(double seconds) {
    struct timespec time = {0, (long)(seconds * 1e9)};
    nanosleep(&time, NULL);
}

static void ensure_index(const char *path) {
    if (access(path, F_OK) == 0) return;
    spend(0.010);
    int file = open(path, O_CREAT | O_WRONLY | O_APPEND, 0644);
    if (file >= 0) {
        if (write(file, "x", 1) != 1) _exit(1);
        close(file);
    }
}

// The largest number of times that one index was written.
int most_writes(const char *directory, int rounds) {
    int most = 0;
    for (int round = 0; round < rounds; round++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/index-%d", directory, round);
        for (int process = 0; process < 2; process++) {
            if (fork() == 0) {
                // The second one is started a little later.
                rest(process * 0.030 + 0.0001);
                ensure_index(path);
                _exit(0);
            }
        }
        while (wait(NULL) > 0);
        int file = open(path, O_RDONLY);
        char written[8];
        int writes = (int)read(file, written, sizeof written);
        close(file);
        if (writes > most) most = writes;
    }
    return most;
}
