// An order that is only assumed: the hub sends its first event once every subscriber "has had the time" to subscribe.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static atomic_int subscribed, received;

static void rest(double seconds) {
    struct timespec time = {0, (long)(seconds * 1e9)};
    nanosleep(&time, NULL);
}

static void *subscriber(void *unused) {
    (void)unused;
    // A handshake of four messages.
    for (int message = 0; message < 4; message++) rest(0.004);
    atomic_store(&subscribed, 1);
    return NULL;
}

static void *hub(void *unused) {
    (void)unused;
    rest(0.060);
    // An event for nobody is dropped.
    if (atomic_load(&subscribed)) atomic_fetch_add(&received, 1);
    return NULL;
}

// How many of the events arrived.
int events_received(int rounds) {
    atomic_store(&received, 0);
    for (int round = 0; round < rounds; round++) {
        pthread_t one, other;
        atomic_store(&subscribed, 0);
        pthread_create(&one, NULL, subscriber, NULL);
        pthread_create(&other, NULL, hub, NULL);
        pthread_join(one, NULL);
        pthread_join(other, NULL);
    }
    return atomic_load(&received);
}
