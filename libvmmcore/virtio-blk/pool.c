/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* virtio-blk: the thread pool engine: a queue of requests, and threads that wait for system calls.
 */
#include <semaphore.h>
#include <sys/prctl.h>

#include "virtio-blk/file-internal.h"

struct blk_pool {
	struct vmm_blk_file *file; /* borrowed, outlives us */
	pthread_mutex_t lock;
	pthread_cond_t wanted;
	struct vmm_blk_io *first, **last; /* under lock */
	bool stopping;                    /* under lock */
	sem_t started;
	int start_result; /* of the worker that started last */
	unsigned int n_workers;
	pthread_t workers[]; /* n_workers of them run */
};

static struct vmm_blk_io *wait_for_io(struct blk_pool *pool)
{
	struct vmm_blk_io *io;

	pthread_mutex_lock(&pool->lock);
	while (!pool->first && !pool->stopping)
		pthread_cond_wait(&pool->wanted, &pool->lock);
	io = pool->first;
	if (io) {
		pool->first = io->next;
		if (!pool->first)
			pool->last = &pool->first;
	}
	pthread_mutex_unlock(&pool->lock);
	return io;
}

static void *worker_main(void *userdata)
{
	struct blk_pool *pool = userdata;
	const struct vmm_blk_thread_hook *hook = &pool->file->hook;
	struct vmm_blk_io *io;
	int r = 0;

	prctl(PR_SET_NAME, "blk-worker");
	if (hook->start)
		r = hook->start(hook->userdata, VMM_BLK_THREAD_WORKER);
	pool->start_result = r;
	sem_post(&pool->started);
	if (r < 0)
		return NULL;
	while ((io = wait_for_io(pool)))
		vmm_blk_complete(io, blk_step_run(pool->file, io));
	return NULL;
}

static int start_worker(struct blk_pool *pool)
{
	pthread_t *worker = &pool->workers[pool->n_workers];
	int r;

	r = vmm_base_thread_start(worker, worker_main, pool);
	if (r < 0)
		return r;
	pool->n_workers++;
	while (sem_wait(&pool->started) < 0)
		;
	return pool->start_result;
}

DEFINE_POINTER_CLEANUP(struct blk_pool, blk_pool_free);

int blk_pool_new(struct vmm_blk_file *file, struct blk_pool **ret_pool)
{
	CLEANUP(blk_pool_free_p) struct blk_pool *pool = NULL;
	int r = 0;

	pool = malloc(sizeof(*pool) + file->n_workers * sizeof(pool->workers[0]));
	if (!pool)
		return -ENOMEM;
	*pool = (struct blk_pool){ .file = file };
	pool->last = &pool->first;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wanted, NULL);
	sem_init(&pool->started, 0, 0);

	while (r >= 0 && pool->n_workers < file->n_workers)
		r = start_worker(pool);
	if (r < 0)
		return r;
	*ret_pool = TAKE_PTR(pool);
	return 0;
}

struct blk_pool *blk_pool_free(struct blk_pool *pool)
{
	if (!pool)
		return NULL;
	pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	pthread_cond_broadcast(&pool->wanted);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned int i = 0; i < pool->n_workers; i++)
		pthread_join(pool->workers[i], NULL);
	sem_destroy(&pool->started);
	pthread_cond_destroy(&pool->wanted);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
	return NULL;
}

void blk_pool_submit(struct blk_pool *pool, struct vmm_blk_io *io)
{
	io->next = NULL;
	pthread_mutex_lock(&pool->lock);
	*pool->last = io;
	pool->last = &io->next;
	pthread_cond_signal(&pool->wanted);
	pthread_mutex_unlock(&pool->lock);
}

void blk_pool_cancel(struct blk_pool *pool)
{
	struct vmm_blk_io *io;

	pthread_mutex_lock(&pool->lock);
	io = pool->first;
	pool->first = NULL;
	pool->last = &pool->first;
	pthread_mutex_unlock(&pool->lock);
	while (io) {
		struct vmm_blk_io *next = io->next;

		vmm_blk_complete(io, -ECANCELED);
		io = next;
	}
}
