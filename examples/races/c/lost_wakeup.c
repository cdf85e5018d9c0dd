// A lost wake-up: the waiter looks whether the work is done, works out how long it may wait, and then waits; a signal that
// comes in between wakes nobody.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t done_changed = PTHREAD_COND_INITIALIZER;
static int done;

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

static void *work(void *unused) {
    (void)unused;
    rest(0.012);
    pthread_mutex_lock(&lock);
    done = 1;
    pthread_cond_signal(&done_changed);
    pthread_mutex_unlock(&lock);
    return NULL;
}

// 0 if the waiter was woken, 1 if the wake-up was lost.
static int one_round(void) {
    pthread_t worker;
    done = 0;
    pthread_create(&worker, NULL, work, NULL);
    pthread_mutex_lock(&lock);
    int was_done = done;
    pthread_mutex_unlock(&lock);
    int lost = 0;
    if (!was_done) {
        spend(0.003);
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 2;
        pthread_mutex_lock(&lock);
        lost = pthread_cond_timedwait(&done_changed, &lock, &until) == ETIMEDOUT;
        pthread_mutex_unlock(&lock);
    }
    pthread_join(worker, NULL);
    return lost;
}

int lost_wakeups(int rounds) {
    int lost = 0;
    while (rounds-- > 0 && !lost) lost += one_round();
    return lost;
}
